"""Views of texts in codes: HTML, percent signs, escapes, hex, base64 and Morse. Pure.

Something is decoded only where the result is text, see `hazgate.text.views.letters`: addresses,
digests, keys and images stay.
"""

import base64
import binascii
import codecs
import html
import re
from re import Match
from urllib.parse import unquote_to_bytes

from hazgate.text.views.edits import Edit, replaced
from hazgate.text.views.letters import is_text, looks_like_words

# Letters have no need of codes: a passage with so many of them hides something.
_LEAST_CODED = 3
# Addresses have abbreviations around the words.
_MAX_BITS_OF_ADDRESS = 7.0
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_PERCENT = re.compile(r"%[0-9A-Fa-f]{2}")
_PERCENT_WORD = re.compile(r"[^\s\"'<>]+")
_ESCAPES = re.compile(r"(?:\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\u\{[0-9a-fA-F]{1,6}\})+")
_ESCAPE = re.compile(r"\\(x)([0-9a-fA-F]{2})|\\u\{?([0-9a-fA-F]{1,6})\}?")
_HEX = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:0x)?[0-9A-Fa-f]{2}[ :,]{0,2}){5,}(?:0x)?[0-9A-Fa-f]{2}(?![0-9A-Za-z])"
)
_HEX_PAIR = re.compile("(?:0x)?([0-9A-Fa-f]{2})")
_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{16,}"
    r"(?:\r?\n[A-Za-z0-9+/_-]{4,}(?=={0,2}[ \t]*(?:[\r\n]|\Z)))*={0,2}"
    r"|[A-Za-z0-9+/_-]{6,}={1,2})(?![A-Za-z0-9+/=_-])"
)
_URL_SAFE = str.maketrans("-_", "+/")
_DOTS, _DASHES = ".·•", "-–—−_"
_SIGN = f"[{re.escape(_DOTS + _DASHES)}]{{1,7}}"
_MORSE = re.compile(
    rf"(?<![^\s\"'(:]){_SIGN}(?:(?:\s{{1,7}}|\s{{0,2}}[/|]\s{{0,2}}){_SIGN}){{5,}}(?![^\s\"').,?!])"
)
_MORSE_GAP = re.compile(r"\s*[/|]\s*|\s{2,}|\n")
_MORSE_SIGNS = str.maketrans({**dict.fromkeys(_DOTS, "."), **dict.fromkeys(_DASHES, "-")})
_MORSE_CODES = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- "
    ".-- -..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- "
    "--..-- ..--.. -.-.-- .----. -....- -..-. ---... .-..-. -.--. -.--.-"
)
_MORSE_LETTERS = dict(
    zip(_MORSE_CODES.split(" "), "abcdefghijklmnopqrstuvwxyz0123456789.,?!'-/:\"()", strict=True)
)
_MAY_BE_BASE64 = re.compile(r"[A-Za-z0-9+/_-]=")


def may_be_base64(text: str, longest_code: int) -> bool:
    """Return False if a text has no base64."""
    return longest_code >= 16 or ("=" in text and _MAY_BE_BASE64.search(text) is not None)


def may_be_morse(text: str) -> bool:
    """Return False if a text has no Morse code."""
    if not text.isascii():
        return any(sign in text for sign in _DOTS + _DASHES)
    return any(gap in text for gap in (". .", ". -", "- .", "- -", "_ _"))


def entities(text: str) -> list[Edit]:
    """Write HTML's numeric entities of letters, and all entities beside them, as characters."""
    if "&#" not in text:
        return []
    found = replaced(text, _ENTITY, lambda match: html.unescape(match[0]))
    coded = sum(
        edit.text[:1].isalpha() for edit in found if text[edit.start + 1 : edit.start + 2] == "#"
    )
    return found if coded >= _LEAST_CODED else []


def percent(text: str) -> list[Edit]:
    """Write words in percent codes as characters, if letters or many spaces are coded."""
    if not _PERCENT.search(text):
        return []
    return replaced(text, _PERCENT_WORD, lambda match: _unquoted(match[0]))


def escapes(text: str) -> list[Edit]:
    r"""Write letters in the escapes of programs, \x62 and \u0062, as characters."""
    if "\\x" not in text and "\\u" not in text:
        return []
    return replaced(text, _ESCAPES, lambda match: _unescaped(match[0]))


def hexadecimal(text: str) -> list[Edit]:
    """Write bytes in hex as the text that they encode."""
    return replaced(
        text, _HEX, lambda match: _as_text(bytes.fromhex("".join(_HEX_PAIR.findall(match[0]))))
    )


def from_base64(text: str) -> list[Edit]:
    """Write base64 as the text that it encodes."""
    return replaced(text, _BASE64, _unpacked)


def morse(text: str) -> list[Edit]:
    """Write Morse code as letters."""
    return replaced(text, _MORSE, lambda match: _heard(match[0]))


def _unquoted(word: str) -> str | None:
    codes = _PERCENT.findall(word)
    if not codes:
        return None
    try:
        decoded = unquote_to_bytes(word.encode("utf-8", "replace")).decode("utf-8")
    except UnicodeDecodeError:
        return None
    n_letters = sum(not c.isascii() for c in decoded) - sum(not c.isascii() for c in word)
    n_letters += sum(chr(int(code[1:], 16)).isalpha() for code in codes if code[1] < "8")
    n_spaces = codes.count("%20")
    if n_letters < _LEAST_CODED and n_spaces < _LEAST_CODED:
        return None
    is_sure = n_letters >= _LEAST_CODED and not decoded.isascii()
    return decoded if is_sure or looks_like_words(decoded, _MAX_BITS_OF_ADDRESS) else None


def _unescaped(run: str) -> str | None:
    units = [(match[1], int(match[2] or match[3], 16)) for match in _ESCAPE.finditer(run)]
    if all(kind for kind, _ in units):
        return _as_text(bytes(unit for _, unit in units), least=_LEAST_CODED)
    if any(unit > 0x10FFFF for _, unit in units):
        return None
    raw = "".join(chr(unit) for _, unit in units).encode("utf-16-le", "surrogatepass")
    return _as_text(raw, "utf-16-le", least=_LEAST_CODED)


def _unpacked(match: Match[str]) -> str | None:
    whole = _decoded_base64(match[0])
    if whole is not None or "\n" not in match[0]:
        return whole
    # Lines that are code by themselves.
    lines = [_decoded_base64(line) for line in match[0].split("\n")]
    if all(line is None for line in lines):
        return None
    pairs = zip(lines, match[0].split("\n"), strict=True)
    return "\n".join(old if new is None else new for new, old in pairs)


def _decoded_base64(code: str) -> str | None:
    letters = "".join(code.split()).rstrip("=")
    if letters.isalpha() and (letters[1:].islower() or letters.isupper()):
        return None
    letters = letters[: len(letters) - (len(letters) % 4 == 1)].translate(_URL_SAFE)
    try:
        data = base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except binascii.Error:
        return None
    if data[1::2].count(0) > len(data) // 4:
        return _as_text(data, "utf-16-le")
    return _as_text(data)


def _as_text(data: bytes, encoding: str = "utf-8", *, least: int = 4) -> str | None:
    """Return the text in some bytes, without a character that was cut at the end."""
    try:
        decoded, _ = codecs.getdecoder(encoding)(data)
    except UnicodeDecodeError as error:
        if error.end < len(data) or len(data) - error.start > 3 or not error.start:
            return None
        decoded, _ = codecs.getdecoder(encoding)(data[: error.start])
    return decoded if len(decoded) >= least and is_text(decoded) else None


def _heard(code: str) -> str | None:
    words = _MORSE_GAP.split(code.translate(_MORSE_SIGNS))
    letters = [[_MORSE_LETTERS.get(sign) for sign in word.split()] for word in words]
    if any(letter is None for word in letters for letter in word):
        return None
    heard = " ".join("".join(filter(None, word)) for word in letters)
    return heard if looks_like_words(heard) and len(set(heard)) > 3 else None
