"""A variant of a bundle, through the runtime's own code."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.systems import ModelFiles
from hazgate.engine.options import EngineOptions
from hazgate.gate import Gate
from hazgate.judging.scores import softmax
from hazgate.text.batching import pad
from hazgate.text.reading import Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleSystem:
    """The gate that a gateway runs: `hazgate.Gate`."""

    gate: Gate

    @classmethod
    def open(cls, files: ModelFiles, variant: str | None, threads: int) -> "BundleSystem":
        """Open the bundle with one of its variants, to read as much of a text as PyTorch does."""
        reading = Reading(long_texts="truncate", sentences_from_tokens=sys.maxsize)
        return cls(
            gate=Gate.open(
                files.bundle,
                engine=EngineOptions(variant=variant, threads=threads),
                reading=reading,
            )
        )

    @property
    def size_bytes(self) -> int:
        """Size of the variant's graphs and weights; files that both levels share count once."""
        manifest = self.gate.bundle.manifest
        variants = [level.variants[self.gate.level1.variant] for level in manifest.levels.values()]
        names = {name for variant in variants for name in (variant.graph, *variant.data)}
        return sum(manifest.files[name].size_bytes for name in names)

    def run_ids(self, input_ids: Sequence[int]) -> None:
        """Run Level 1's session."""
        classifier = self.gate.level1
        classifier.session.run(*pad([input_ids], classifier.spec.tokenizer.pad_token_id))

    def run_text(self, text: str) -> None:
        """Compute Level 1's probabilities."""
        classifier = self.gate.level1
        (tokens,) = classifier.tokenizer.encode([text])
        softmax(classifier.logits_of_ids([tokens.windows[0].input_ids]))

    def run_bulk(self, texts: Sequence[str]) -> None:
        """Compute the verdicts of all texts in one call."""
        self.gate.check_many(texts)

    def logits(self, level: str, rows: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        """Return logits, batched as the runtime does it."""
        level1, level2 = self.gate.level1, self.gate.level2
        classifier = level1 if level == level1.level else level2
        return classifier.logits_of_ids(rows)
