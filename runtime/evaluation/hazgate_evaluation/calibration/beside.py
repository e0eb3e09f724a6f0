"""Thresholds of the labels of levels beside the cascade, chosen on one half of the rows."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import BundleError, InputError
from hazgate.gate import Gate
from hazgate.judging.classification import LabelHead
from hazgate_evaluation.calibration.levels import Level
from hazgate_evaluation.calibration.points import MIN_ROWS, no_point, point_or_problem
from hazgate_evaluation.calibration.report import LabelPoint, LevelPoints
from hazgate_evaluation.calibration.temperature import binary_logits
from hazgate_evaluation.calibration.thresholds import ThresholdTarget
from hazgate_evaluation.label_figures import label_matrix
from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.scores import LevelScores


def check_levels_beside(gate: Gate, levels: Sequence[str]) -> dict[str, LabelHead]:
    """Return the heads of the levels whose thresholds are to be chosen.

    Raises:
        BundleError: one of them is no level beside the cascade, finds spans, or does not say which
            of its labels flag a text; says what to do.
    """
    heads: dict[str, LabelHead] = {}
    for name in levels:
        if name in gate.token_levels:
            raise BundleError(
                f"{name} is a token level, whose rows mark spans: choose its thresholds from "
                f"`hazgate evaluate --level {name}` and write them into [levels.{name}]"
            )
        if name not in gate.beside:
            known = ", ".join(gate.beside) or "none"
            raise BundleError(
                f"{name} is no level beside the cascade of {gate.model.bundle}, which has {known}; "
                "the cascade's own are calibrated in any case"
            )
        heads[name] = gate.beside[name].head
        if not heads[name].looked_for:
            raise BundleError(
                f"{name} states no positive label, so that no threshold flags a text: write "
                f"[levels.{name}] with labels and a threshold, after `hazgate evaluate --level "
                f"{name}`"
            )
    return heads


def check_rows_label(rows: Sequence[LabelledRow], levels: Collection[str]) -> None:
    """Refuse rows of which none has the labels of a level.

    Raises:
        InputError: names the levels.
    """
    missing = [name for name in levels if not any(name in row.levels for row in rows)]
    if missing:
        raise InputError(
            f"none of the {len(rows)} rows has the field {' or '.join(map(repr, missing))}, which "
            "says the labels of the level of that name"
        )


def points_beside(
    rows: Sequence[LabelledRow],
    heads: Mapping[str, LabelHead],
    scores: Mapping[str, LevelScores],
    target: ThresholdTarget,
    *,
    fit: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> tuple[LevelPoints, ...]:
    """Choose a threshold of each label that flags a text, against the rest, that keeps the target.

    Args:
        rows: n labelled rows.
        heads: the meaning of each level's labels.
        scores: each level's answers on the rows.
        target: what each threshold must keep among the rows whose labels are known.
        fit: True for rows to choose on, shape [n]; the others are measured on.
        group: the number of each row's group, shape [n].

    Raises:
        InputError: a level has no label for which a threshold can be chosen.
    """
    return tuple(
        _points(rows, name, head, scores[name], target, fit=fit, group=group)
        for name, head in heads.items()
    )


def _points(
    rows: Sequence[LabelledRow],
    name: str,
    head: LabelHead,
    scores: LevelScores,
    target: ThresholdTarget,
    *,
    fit: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> LevelPoints:
    known = np.array([name in row.levels for row in rows], dtype=np.bool_)
    held = label_matrix([row.levels[name] for row in rows if name in row.levels], head.labels)
    points = []
    for label in head.looked_for:
        i = head.labels.index(label)
        positive = held[:, i]
        level = Level(
            name=f"{name} {label}",
            logits=binary_logits(scores.probabilities[known, i]),
            labels=positive.astype(np.int64),
            fit=fit[known],
            group=group[known],
        )
        halves = [positive[level.fit], positive[~level.fit]]
        if any(min(half.sum(), (~half).sum()) < MIN_ROWS for half in halves):
            point = no_point(target, f"fewer than {MIN_ROWS} rows with it or without it in a half")
        else:
            point = point_or_problem(level, scores.probabilities[known, i], positive, target)
        points.append(
            LabelPoint(
                label=label, n_fit=int(halves[0].sum()), n_test=int(halves[1].sum()), point=point
            )
        )
    if all(each.point.threshold is None for each in points):
        problems = "; ".join(f"{each.label}: {each.point.problem}" for each in points)
        raise InputError(f"no label of {name} has a threshold that could be chosen: {problems}")
    return LevelPoints(level=name, labels=tuple(points))
