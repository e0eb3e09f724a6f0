"""int8 of an authored graph: as much static quantisation as the gate allows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazgate.manifest import TokenizerSpec
from hazgate.session import OrtSession, default_threads
from hazgate_export.author.families import Calibrated, write_int8
from hazgate_export.corpus import Case
from hazgate_export.progress import step
from hazgate_export.recipe import GateRecipe
from hazgate_export.verify import Boundary, measure

# The errors of a product (`choose.row_error`) up to which it gets a static scale, and beyond which
# not even per-token scales will do: from the fastest graph to the most careful one.
_RUNGS = ((0.1, 0.1), (0.05, 0.1), (0.03, 0.07), (0.02, 0.05), (0.0, 0.03))


def write_calibrated(
    calibrated: Calibrated[Any],
    file: Path,
    *,
    opset: int,
    cases: Sequence[Case],
    reference: NDArray[np.float32],
    tokenizer: TokenizerSpec,
    boundary: Boundary,
    gate: GateRecipe,
    level: str,
) -> Mapping[str, int]:
    """Writes the cheapest int8 graph that passes `gate`, or the most careful one if none does.

    Args:
        calibrated: the merged model's weights, balanced, and what was seen of them.
        file: receives the graph, its constants in `file`.data beside it.
        opset: of the ONNX domain.
        cases: what the gate is measured on.
        reference: the reference's logits of each case.
        tokenizer: what padding consists of.
        boundary: where decisions change.
        gate: what the variant must meet.
        level: for the progress bars.

    Returns:
        How many products got which arithmetic.
    """
    threads = default_threads()
    for static_error, int8_error in _RUNGS:
        counts = write_int8(
            calibrated, file, opset, static_error=static_error, int8_error=int8_error
        )
        described = ", ".join(f"{n} {how}" for how, n in sorted(counts.items()))
        step(f"{level}: int8, errors up to {static_error:.0%} / {int8_error:.0%}: {described}")
        session = OrtSession(file, kind="authored", n_labels=reference.shape[1], threads=threads)
        measured = measure(
            session,
            cases,
            reference,
            level=level,
            variant=f"int8 {static_error:.0%}",
            # Neighbours are tried once the graph is chosen; they take most of the time.
            batching="alone",
            try_unserved=False,
            tokenizer=tokenizer,
            boundary=boundary,
            gate=gate,
        )
        if measured.passed:
            break
    return counts
