"""Canaries: a few proven cases with their reference logits, so that a host can check itself."""

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.canaries import Canary
from hazgate_export.proof.subject import Subject

CANARIES_FILE = "canaries.json"
# A starting server waits for them, in every shape that is compiled.
_N_CANARIES = 6
_MAX_TOKENS = 128
# At a token level, each token has logits, and all of them are in the bundle.
_MAX_TAGGED_TOKENS = 48


def choose_canaries(subject: Subject, reference: NDArray[np.float32]) -> tuple[Canary, ...]:
    """Choose cases from the shortest to 128 tokens, evenly by rank, with PyTorch's logits.

    Args:
        subject: the body, with all cases of the export's proof.
        reference: a level's logits, shape [n_rows, n_labels].
    """
    cases = subject.cases
    most = _MAX_TAGGED_TOKENS if subject.per_token else _MAX_TOKENS
    by_length = sorted(
        (
            i
            for i, case in enumerate(cases)
            if len(case.input_ids) <= most and len(subject.rows_of([i]))
        ),
        key=lambda i: len(cases[i].input_ids),
    )
    if not by_length:
        return ()
    ranks = np.linspace(0, len(by_length) - 1, min(_N_CANARIES, len(by_length))).round()
    return tuple(
        Canary(
            input_ids=tuple(cases[i].input_ids),
            logits=tuple(float(logit) for logit in reference[subject.rows_of([i])].reshape(-1)),
            first=cases[i].n_before if subject.per_token else None,
        )
        for i in (by_length[int(rank)] for rank in ranks)
    )
