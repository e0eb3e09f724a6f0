"""Canaries: a few proven cases with their reference logits, so that a host can check itself."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.canaries import Canary
from hazgate_export.proof.texts import Case

CANARIES_FILE = "canaries.json"
# A starting server waits for them, in every shape that is compiled.
_N_CANARIES = 6
_MAX_TOKENS = 128


def choose_canaries(cases: Sequence[Case], reference: NDArray[np.float32]) -> tuple[Canary, ...]:
    """Choose cases from the shortest to 128 tokens, evenly by rank, with PyTorch's logits.

    Args:
        cases: all cases of the export's proof.
        reference: their logits, shape [len(cases), n_labels].
    """
    by_length = sorted(
        (i for i, case in enumerate(cases) if len(case.input_ids) <= _MAX_TOKENS),
        key=lambda i: len(cases[i].input_ids),
    )
    if not by_length:
        return ()
    ranks = np.linspace(0, len(by_length) - 1, min(_N_CANARIES, len(by_length))).round()
    return tuple(
        Canary(
            input_ids=tuple(cases[i].input_ids),
            logits=tuple(float(logit) for logit in reference[i]),
        )
        for i in (by_length[int(rank)] for rank in ranks)
    )
