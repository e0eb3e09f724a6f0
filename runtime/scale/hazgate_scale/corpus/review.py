"""A sample of rows for review: the same for the same seed, however a run is cut."""

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
    """List rows with their verdicts and a pseudo-random rank of each row.

    Args:
        rows: judged rows.
        verdicts: one for each of them.
        uri: URI of their file.
        id_column: column of the id, if any.
        seed: seed of the ranks.
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
    """Take the `n` rows of lowest rank from rows, or from samples of parts of them."""
    return heapq.nsmallest(n, rows, key=lambda row: str(row[_RANK]))


def _rank(seed: int, uri: str, position: int) -> str:
    return hashlib.blake2b(f"{seed} {position} {uri}".encode(), digest_size=8).hexdigest()
