"""Lines of a range of bytes, in bounded memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_SKIP_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A line without its end: the position of its first byte, and its bytes.

    `data` is None if the line is too large; `size_bytes` is the size of the whole line.
    """

    position: int
    data: bytes | None
    size_bytes: int


def read_lines(
    stream: BinaryIO, start: int, end: int | None, max_line_bytes: int
) -> Iterator[Line]:
    """Yield the lines whose first byte is in [start, end), wherever they end.

    So adjacent ranges that cover a file give each of its lines once.

    Args:
        stream: at the byte before `start`, or at the beginning if `start` is 0.
        start: start of the range.
        end: end of the range; None is the end of the file.
        max_line_bytes: lines that are larger give only their size and are never held.
    """
    position = start
    if start:
        # Start one byte early: if that byte ends a line, the next line begins exactly at `start`.
        position = start - 1 + _skip_line(stream)
    while end is None or position < end:
        # One extra byte for the end of the line, and one to see that there is more.
        data = stream.readline(max_line_bytes + 2)
        if not data:
            return
        size_bytes = len(data)
        # Fewer bytes than asked for: the stream has ended.
        is_whole = data.endswith(b"\n") or size_bytes < max_line_bytes + 2
        if not is_whole:
            size_bytes += _skip_line(stream)
        content = data.removesuffix(b"\n").removesuffix(b"\r")
        fits = is_whole and len(content) <= max_line_bytes
        yield Line(position=position, data=content if fits else None, size_bytes=size_bytes)
        position += size_bytes


def _skip_line(stream: BinaryIO) -> int:
    """Read to the end of a line; return the number of bytes read."""
    n_bytes = 0
    while piece := stream.readline(_SKIP_BYTES):
        n_bytes += len(piece)
        if piece.endswith(b"\n"):
            break
    return n_bytes
