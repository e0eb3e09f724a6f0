"""One level of a bundle: texts in, logits out, in the order of its labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import LevelSpec
from hazgate.engine.engine import Engine
from hazgate.engine.options import EngineOptions
from hazgate.engine.session import Session
from hazgate.errors import BundleError
from hazgate.judging.scores import calibrated
from hazgate.text.batching import pad, plan_batches
from hazgate.text.reading import Reading, choose_windows
from hazgate.text.tokenization import Tokenizer, Tokens

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# Rows x longest row of one run. Above it a 2-core CPU gains nothing from sharing a run.
DEFAULT_MAX_BATCH_TOKENS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Classifier:
    """One level of a bundle, ready to run. Thread-safe.

    A text's logits do not depend on the texts in the same run: texts share a run only as the
    variant's arithmetic allows, see hazgate.bundle.manifest.VariantSpec.

    With several `workers`, that many runs of one call go on at a time, each on its own threads:
    more texts per second, but the first answer comes no sooner.
    """

    level: str
    spec: LevelSpec
    variant: str
    provider: str
    tokenizer: Tokenizer
    session: Session
    max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS
    workers: "ThreadPoolExecutor | None" = None

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        level: str,
        *,
        variant: str | None = None,
        engine: Engine | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> "Classifier":
        """Load one level of an open bundle.

        Args:
            bundle: a verified bundle.
            level: a name in its manifest.
            variant: one of the level's variants; None takes the bundle's default.
            engine: the provider and threads to run on; None is the CPU, all processors for one run.
            tokenizer: an already loaded tokenizer of the same specification, to share it.

        Raises:
            BundleError: no such level or variant, or the variant is not made for the provider.
            ProviderError: the provider is not available here.
        """
        levels = bundle.manifest.levels
        if level not in levels:
            raise BundleError(f"the bundle has no level {level!r}, only {', '.join(levels)}")
        spec = levels[level]
        name = variant if variant is not None else bundle.manifest.default_variant
        if name not in spec.variants:
            raise BundleError(f"{level} has no variant {name!r}, only {', '.join(spec.variants)}")
        chosen = spec.variants[name]
        engine = engine or Engine.of(EngineOptions())
        provider = engine.placement.spec.name
        if provider not in chosen.execution_providers:
            raise BundleError(
                f"variant {name!r} of {level} was made for "
                f"{', '.join(chosen.execution_providers)}, not for {provider}"
            )
        return cls(
            level=level,
            spec=spec,
            variant=name,
            provider=provider,
            tokenizer=tokenizer or Tokenizer(bundle.file(spec.tokenizer.file), spec.tokenizer),
            session=engine.open_level(bundle, level, name),
            workers=_pool(engine.workers, level) if engine.workers > 1 else None,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the logits."""
        return self.spec.labels

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the logits of texts that fit into one window each.

        Returns:
            Shape [len(texts), len(labels)], in the order given.

        Raises:
            InputError: an element is not a well-formed string, or is too long; says which.
            InferenceError: the model failed or gave a logit that is not finite.
        """
        tokens = choose_windows(self.tokenizer.encode(texts), Reading(long_texts="reject"))
        return self.logits_of_ids([text.windows[0].input_ids for text in tokens])

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability of each label for each text; shape and errors as in `logits`."""
        return calibrated(self.logits(texts), 1.0, self.spec.activation)

    def window_logits(self, tokens: Sequence[Tokens]) -> list[NDArray[np.float32]]:
        """Return the logits of every window of texts that are tokenised already.

        Returns:
            Shape [len(text.every_window), len(labels)] for each text, in the order given.

        Raises:
            InferenceError: the model failed or gave a logit that is not finite.
        """
        logits = self.logits_of_ids([w.input_ids for text in tokens for w in text.every_window])
        ends = np.cumsum([len(text.every_window) for text in tokens])
        return np.split(logits, ends[:-1]) if len(tokens) else []

    def logits_of_ids(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return logits [len(rows), len(labels)] of rows of `input_ids`.

        Raises:
            InferenceError: as in `window_logits`.
        """
        result = np.empty((len(rows), len(self.labels)), dtype=np.float32)
        batches = plan_batches(
            [len(row) for row in rows],
            self.max_batch_tokens,
            self.spec.variants[self.variant].batching,
        )
        # Longest first: a worker that is done early then finds a short batch.
        batches.reverse()

        def run(batch: list[int]) -> NDArray[np.float32]:
            return self.session.run(
                *pad([rows[i] for i in batch], self.spec.tokenizer.pad_token_id)
            )

        runs = map(run, batches) if self.workers is None else self.workers.map(run, batches)
        for batch, logits in zip(batches, runs, strict=True):
            result[batch] = logits
        return result


def _pool(workers: int, level: str) -> "ThreadPoolExecutor":
    # A classifier with one worker does not wait for this import.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers, thread_name_prefix=f"hazgate-{level}")
