"""Escapes of JSON and its relatives: in a string that grows, and in texts that are no JSON."""

import re
import sys

# A whole escape, or a high surrogate whose low one may follow.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^u])"
)
# An escape at the end that the next piece may complete.
_UNFINISHED = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?)?\Z"
)
# Letters as JavaScript, YAML, GraphQL and Python spell them by number, pairs of surrogates first.
_NUMBERED = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})))"
)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": "\n"}


def with_letters(text: str) -> str:
    """Return a text with the letters that it spells by their number."""
    return _NUMBERED.sub(_lettered, text) if "\\" in text else text


def _lettered(found: re.Match[str]) -> str:
    high, low, *codes = found.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    code = int(next(filter(None, codes)), 16)
    is_letter = code <= sys.maxunicode and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_letter else found[0]


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
