"""A sample of rows for people to look at: the same for the same seed, however a run is cut."""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from typing import Any

from hazgate.judging.verdict import Verdict
from hazgate_scale.corpus.rows import Rows

_RANK = "rank"


def candidates(
    rows: Rows, verdicts: Sequence[Verdict], *, uri: str, id_column: str | None, seed: int
) -> list[dict[str, Any]]:
    """Rows with their verdicts and a rank that looks random and is a row's own.

    Args:
        rows: which were judged.
        verdicts: one for each of them.
        uri: of their file.
        id_column: which of the columns is the id.
        seed: of the ranks.
    """
    has_id = id_column is not None and id_column in rows.passed.schema.names
    ids = rows.passed[id_column].to_pylist() if has_id else [None] * len(rows.texts)
    return [
        {
            _RANK: _rank(seed, uri, position),
            "input": uri,
            "position": position,
            "id": id_ if isinstance(id_, str | int | None) else str(id_),
            "text": text,
            "verdict": verdict.to_dict(),
        }
        for text, position, id_, verdict in zip(
            rows.texts, rows.positions, ids, verdicts, strict=True
        )
    ]


def sample(rows: Iterable[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """The `n` rows of the lowest rank: of some rows, or of the samples of their parts."""
    return heapq.nsmallest(n, rows, key=lambda row: str(row[_RANK]))


def _rank(seed: int, uri: str, position: int) -> str:
    return hashlib.blake2b(f"{seed} {position} {uri}".encode(), digest_size=8).hexdigest()
