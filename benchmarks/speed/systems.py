"""The systems that are compared, and what the benchmark needs of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.workloads import SpeedWorkload
from hazgate.bundle.manifest import Manifest

# As published: "matches PyTorch" is measured against it.
REFERENCE = "pytorch-adapter"
# As one would deploy it: speed is measured against it.
FAIR_BASELINE = "pytorch-merged"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedSpec:
    """One system; `variant` is the bundle's, for systems that run one."""

    name: str
    title: str
    kind: Literal["adapter", "merged", "bundle"]
    variant: str | None = None


class BothLevels(Protocol):
    """A loaded system that answers for both levels of the cascade."""

    @property
    def size_bytes(self) -> int:
        """Size of the weight files that it needs for both levels."""
        ...

    def run_ids(self, input_ids: Sequence[int]) -> None:
        """Run Level 1 on one tokenised text."""
        ...

    def run_text(self, text: str) -> None:
        """Tokenise one text and compute Level 1's probabilities."""
        ...

    def run_bulk(self, texts: Sequence[str]) -> None:
        """Tokenise the texts, run Level 1 on all and Level 2 on what it flags."""
        ...

    def logits(self, level: str, rows: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        """Return logits [len(rows), n_labels] of tokenised texts, as the system serves them."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFiles:
    """Places of the same weights in each of their forms; all paths are absolute.

    `merged` has one folder per level, with a plain model and its tokenizer.
    """

    recipe: str
    bundle: str
    base: str
    adapters: Mapping[str, str]
    merged: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedSetup:
    """A worker's first request: the system, and all that it will be asked about.

    `rows` are the tokenised texts on which answers are compared.
    """

    system: SpeedSpec
    files: ModelFiles
    threads: int
    workloads: tuple[SpeedWorkload, ...]
    rows: tuple[tuple[int, ...], ...]


def speed_specs(manifest: Manifest) -> tuple[SpeedSpec, ...]:
    """Return PyTorch twice, then hazgate with each variant of the bundle that reads texts whole."""
    variants = manifest.levels[manifest.cascade_for("this benchmark").level1].variants
    return (
        SpeedSpec(name=REFERENCE, title="PyTorch, adapter applied", kind="adapter"),
        SpeedSpec(name=FAIR_BASELINE, title="PyTorch, merged", kind="merged"),
        *(
            SpeedSpec(name=f"onnx-{name}", title=f"hazgate {name}", kind="bundle", variant=name)
            for name, spec in variants.items()
            if spec.exits is None
        ),
    )
