"""Labelled rows of the project's own, and arrays of labels and scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hazgate_evaluation.rows import LabelledRow, LabelNames
from hazgate_evaluation.scores import Scores
from hazgate_evaluation.truth import Truth
from tests.support.tiny import HAZARDS

NAMES = LabelNames(level1=("safe", "unsafe"), positive="unsafe", level2=HAZARDS)
_TRAINING = Path(__file__).parents[2] / "export" / "training"


def own_rows(n_rows: int) -> list[dict[str, Any]]:
    """Return rows of the project's labelled texts, spread over both files."""
    rows = [
        {**json.loads(line), "lang": "en", "source": file}
        for file in ("contrast.jsonl", "hazards.jsonl")
        for line in (_TRAINING / file).read_text(encoding="utf-8").splitlines()
    ]
    return rows[:: max(1, len(rows) // n_rows)][:n_rows]


def write_rows(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write JSON Lines; return the file."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def truth(
    unsafe: Sequence[bool | None],
    hazard: Sequence[int] | None = None,
    group: Sequence[int] | None = None,
) -> Truth:
    """Return labels as arrays; None where a row does not count for Level 1."""
    return Truth(
        known=np.array([value is not None for value in unsafe]),
        unsafe=np.array([bool(value) for value in unsafe]),
        hazard=np.array(hazard if hazard is not None else [-1] * len(unsafe), dtype=np.int64),
        group=np.array(group if group is not None else range(len(unsafe)), dtype=np.int64),
    )


def scores(
    unsafe: Sequence[float], hazard: Sequence[int] | None = None, n_tokens: int = 10
) -> Scores:
    """Return scores as arrays; each text's most probable hazard is the given one."""
    hazards = np.full((len(unsafe), 3), 0.1)
    hazards[range(len(unsafe)), hazard if hazard is not None else [0] * len(unsafe)] = 0.8
    return Scores(
        unsafe=np.array(unsafe, dtype=np.float64),
        hazards=hazards,
        n_tokens=np.full(len(unsafe), n_tokens, dtype=np.int64),
    )


def row(number: int, text: str = "text", **fields: Any) -> LabelledRow:  # noqa: ANN401
    """Return a row that has only its line."""
    empty: dict[str, Any] = dict.fromkeys(("level1", "level2", "lang", "source"))
    return LabelledRow(**{"number": number, "text": text, "group": str(number), **empty, **fields})
