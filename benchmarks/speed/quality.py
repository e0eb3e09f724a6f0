"""The distance of each system's answers from the reference's."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.results import Quality
from hazgate.bundle.manifest import Manifest
from hazgate_export.proof.subject import boundary_of

LevelLogits = Mapping[str, NDArray[np.float32]]


def compare_answers(manifest: Manifest, reference: LevelLogits, got: LevelLogits) -> Quality:
    """Compare answers to the same texts, for all levels.

    Args:
        manifest: the bundle's; says where decisions change.
        reference: the reference's logits by level, shape [n_texts, n_labels] each.
        got: the system's, of the same shapes.
    """
    n_texts = len(next(iter(reference.values())))
    changed = np.zeros(n_texts, dtype=bool)
    for level, wanted in reference.items():
        boundary = boundary_of(manifest, level)
        changed |= boundary.decide(got[level]) != boundary.decide(wanted)
    return Quality(
        max_abs_logit_diff=max(float(np.abs(got[k] - reference[k]).max()) for k in reference),
        decisions_changed=int(changed.sum()),
        n_texts=n_texts,
    )
