"""Read a long JSON object in pieces, so that each byte of it costs what one of a short body costs.

The values of a long body do not fit into a processor's nearer caches, and keep the garbage
collector busy. Nearly all of it is one array, of turns: its items are parsed, walked and dropped
some at a time. Nothing is guessed. What stands before the array must be the beginning of an object
that the array is a member of, each piece by itself a list of values, and the document without those
pieces a strict document; then the whole is one, and these are its values. What cannot be cut so is
read at once.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from hazgate.judging.speech import Side
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.strict_json import parse_quickly
from hazgate.serving.bodies.walk import Walk

_PIECE_BYTES = 65_536
LONG_BYTES = 2 * _PIECE_BYTES
# The array begins within the first bytes, which are parsed twice, or nothing is cut.
_HEAD_BYTES = 131_072
_TRIES = 8
_SPACE = b" \t\r\n"
# The name of a member, its array, and the beginning of the array's first item.
_ARRAY = re.compile(
    rb'"[A-Za-z_]{1,40}"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*'
    rb'(\{[ \t\r\n]*"[A-Za-z_]{1,40}")'
)


def read_long(data: bytes, side: Side, *, piece_bytes: int = _PIECE_BYTES) -> BodyText | None:
    """Read a JSON object in pieces; None if it has no long array of objects, or is not strict JSON.

    Args:
        data: all of the body.
        side: "request" or "response": who speaks where the body does not say.
        piece_bytes: the least length of a piece but the last.

    Raises:
        InputError: as in `read_value`.
    """
    arrays = islice(_ARRAY.finditer(data, 0, _HEAD_BYTES), _TRIES)
    reads = (_read_cut(data, found.start(1), found[1], side, piece_bytes) for found in arrays)
    return next((read for read in reads if read is not None), None)


def _read_cut(
    data: bytes, start: int, item: bytes, side: Side, piece_bytes: int
) -> BodyText | None:
    """Read an object whose array's first item is at `start` and begins as the others do."""
    head = _parsed(data[:start] + b"]}")
    if not isinstance(head, dict):
        return None
    key = next(reversed(head))
    walk = Walk(side)
    array = walk.array_of_body(key)
    if array is None:
        return None
    end = start
    n_items = 0
    for items, after in _pieces(data, start, item, piece_bytes):
        if n_items == 0:
            walk.visit_root(head)
        array.visit(items, n_items)
        n_items += len(items)
        end = after
    if n_items == 0:
        return None
    body = _parsed(data[:start] + data[end:])
    if body is None:
        return None
    array.visit(body[key], n_items)
    walk.check_keys(tuple(body), ())
    walk.visit_root(dict(islice(body.items(), len(head), None)))
    return walk.result()


def _pieces(
    data: bytes, start: int, item: bytes, piece_bytes: int
) -> Iterator[tuple[list[object], int]]:
    """Yield the next items of an array, and the place of the item that follows them."""
    while True:
        for end in islice(_places(data, item, start + piece_bytes), _TRIES):
            piece = data[start:end].rstrip(_SPACE)
            items = _parsed(b"[" + piece[:-1] + b"]") if piece.endswith(b",") else None
            if items is not None:
                break
        else:
            return
        yield items, end
        start = end


def _places(data: bytes, item: bytes, at: int) -> Iterator[int]:
    while (at := data.find(item, at)) >= 0:
        yield at
        at += len(item)


def _parsed(data: bytes) -> Any | None:  # noqa: ANN401 - any JSON value
    try:
        return parse_quickly(data)
    except ValueError:
        return None
