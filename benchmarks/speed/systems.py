"""What is compared, and what a benchmark needs of each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import Manifest

# As published: what "matches PyTorch" is measured against.
REFERENCE = "pytorch-adapter"
# As one would deploy it: what speed is measured against.
FAIR_BASELINE = "pytorch-merged"


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemSpec:
    """One system; `variant` is the bundle's, for those that run one."""

    name: str
    title: str
    kind: Literal["adapter", "merged", "bundle"]
    variant: str | None = None


class System(Protocol):
    """A loaded system; it answers for both levels of the cascade."""

    @property
    def size_bytes(self) -> int:
        """Size of the weight files that it needs for both levels."""
        ...

    def run_ids(self, input_ids: Sequence[int]) -> None:
        """Runs the gate level on one text that was tokenised already."""
        ...

    def run_text(self, text: str) -> None:
        """Tokenises one text and takes the gate level's probabilities of it."""
        ...

    def run_bulk(self, texts: Sequence[str]) -> None:
        """Tokenises the texts, runs the gate level, and the hazard level on what it flags."""
        ...

    def logits(self, level: str, rows: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        """Logits of tokenised texts, shape [len(rows), n_labels], as the system serves them."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """Where the same weights lie in each of their forms; all paths are absolute.

    `merged` has one directory a level, with a plain model and its tokenizer.
    """

    recipe: str
    bundle: str
    base: str
    adapters: Mapping[str, str]
    merged: str


def systems_of(manifest: Manifest) -> tuple[SystemSpec, ...]:
    """PyTorch twice, then ONNX Runtime with each variant of the bundle."""
    variants = manifest.levels[manifest.cascade.level1].variants
    return (
        SystemSpec(name=REFERENCE, title="PyTorch, adapter applied", kind="adapter"),
        SystemSpec(name=FAIR_BASELINE, title="PyTorch, merged", kind="merged"),
        *(
            SystemSpec(name=f"onnx-{name}", title=f"hazgate {name}", kind="bundle", variant=name)
            for name in variants
        ),
    )
