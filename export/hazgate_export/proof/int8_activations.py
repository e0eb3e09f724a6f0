"""int8 of a graph of our own: as cheap as the gate allows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import GraphKind, TokenizerSpec
from hazgate.cli.progress import step
from hazgate.engine.processor import n_processors
from hazgate.engine.session import OrtSession
from hazgate_export.author.families import Calibrated, write_fused, write_int8
from hazgate_export.proof.texts import Case
from hazgate_export.proof.verify import Boundary, measure
from hazgate_export.recipe import ParityLimits

# The errors of a product (`choose.row_error`) up to which it gets a static scale, and beyond which
# not even per-token scales will do: from the fastest graph to the most careful one.
_CALIBRATED = ((0.1, 0.1), (0.05, 0.1), (0.03, 0.07), (0.02, 0.05), (0.0, 0.03))
# Beyond which error a product of the fused graph gets activations of 16 bits.
_FUSED = (0.1, 0.05, 0.035, 0.025, 0.018, 0.012, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What a level's int8 graphs are tried on.

    Attributes:
        cases: what the gate is measured on.
        reference: the reference's logits of each case.
        tokenizer: what padding consists of.
        boundary: where decisions change.
        gate: what the variant must meet.
        level: for the progress bars.
    """

    cases: Sequence[Case]
    reference: NDArray[np.float32]
    tokenizer: TokenizerSpec
    boundary: Boundary
    gate: ParityLimits
    level: str

    def passes(self, file: Path, kind: GraphKind, name: str) -> bool:
        """Whether a graph passes, each case run alone: neighbours are tried once it is chosen."""
        session = OrtSession(
            file, kind=kind, n_labels=self.reference.shape[1], threads=n_processors()
        )
        measured = measure(
            session,
            self.cases,
            self.reference,
            level=self.level,
            variant=name,
            batching="alone",
            try_unserved=False,
            tokenizer=self.tokenizer,
            boundary=self.boundary,
            gate=self.gate,
        )
        return measured.passed


def write_calibrated(
    calibrated: Calibrated[Any], kind: GraphKind, file: Path, opset: int, trial: Trial
) -> Mapping[str, int]:
    """Writes the cheapest int8 graph that passes, or the most careful one if none does.

    Args:
        calibrated: the merged model's weights, balanced, and what was seen of them.
        kind: "authored" or "fused".
        file: receives the graph, its constants in `file`.data beside it.
        opset: of the ONNX domain.
        trial: what it must pass.

    Returns:
        How many products got which arithmetic.
    """
    for name, write in _fused(calibrated) if kind == "fused" else _authored(calibrated):
        counts = write(file, opset)
        described = ", ".join(f"{n} {how}" for how, n in sorted(counts.items()))
        step(f"{trial.level}: int8, errors up to {name}: {described}")
        if trial.passes(file, kind, f"int8 {name}"):
            break
    return counts


_Writer = Callable[[Path, int], Mapping[str, int]]


def _authored(calibrated: Calibrated[Any]) -> list[tuple[str, _Writer]]:
    def writer(static: float, int8: float) -> _Writer:
        return lambda file, opset: write_int8(
            calibrated, file, opset, static_error=static, int8_error=int8
        )

    return [(f"{static:.0%} / {int8:.0%}", writer(static, int8)) for static, int8 in _CALIBRATED]


def _fused(calibrated: Calibrated[Any]) -> list[tuple[str, _Writer]]:
    def writer(error: float) -> _Writer:
        return lambda file, opset: write_fused(calibrated, file, opset, error=error)

    return [(f"{error:.1%}", writer(error)) for error in _FUSED]
