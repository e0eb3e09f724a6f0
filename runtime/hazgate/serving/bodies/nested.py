"""JSON that grows inside a string, as tool calls stream their arguments."""

import re

# A whole escape, or a high surrogate whose low one may follow.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^u])"
)
# An escape at the end that the next piece may complete.
_UNFINISHED = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)?\Z"
)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": "\n"}


class Unescaper:
    """Decoder of the escapes of JSON in a text that comes in pieces."""

    def __init__(self) -> None:
        """Start before the first piece."""
        self._rest = ""

    def feed(self, piece: str) -> str:
        """Return the next characters with their escapes decoded."""
        text = self._rest + piece
        unfinished = _UNFINISHED.search(text)
        # A backslash that is itself escaped begins nothing.
        if unfinished and not _is_escaped(text, unfinished.start()):
            self._rest = text[unfinished.start() :]
            text = text[: unfinished.start()]
        else:
            self._rest = ""
        return _ESCAPE.sub(_decode, text)


def _is_escaped(text: str, at: int) -> bool:
    before = len(text[:at]) - len(text[:at].rstrip("\\"))
    return before % 2 == 1


def _decode(found: re.Match[str]) -> str:
    escape = found[0][1:]
    if not escape.startswith("u"):
        return _PLAIN.get(escape, escape)
    units = [int(part, 16) for part in re.findall(r"u([0-9a-fA-F]{4})", escape)]
    raw = b"".join(unit.to_bytes(2, "big") for unit in units)
    return raw.decode("utf-16-be", "replace")
