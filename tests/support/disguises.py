"""Disguises of a text, written here without the code that undoes them."""

import base64
import codecs
from collections.abc import Callable, Mapping
from urllib.parse import quote

_LEET = str.maketrans("aeiost", "431057")
_TWINS = str.maketrans("aceopxy", "асеорху")
_MORSE_CODES = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- "
    ".-- -..- -.-- --.."
)
_MORSE = dict(zip("abcdefghijklmnopqrstuvwxyz", _MORSE_CODES.split(" "), strict=True))


def _tags(text: str) -> str:
    return "".join(chr(0xE0000 + ord(c)) for c in text)


def _selectors(text: str) -> str:
    return "\U0001f600" + "".join(chr(0xE0100 + byte - 16) for byte in text.encode())


def _bold(text: str) -> str:
    return "".join(chr(0x1D41A + ord(c) - ord("a")) if c.isalpha() else c for c in text)


def _full_width(text: str) -> str:
    return "".join("\u3000" if c == " " else chr(ord(c) + 0xFEE0) for c in text)


def _zalgo(text: str) -> str:
    return "".join(f"{c}\u0300\u0315\u0334\u0489" for c in text)


def _morse(text: str) -> str:
    return " / ".join(" ".join(map(_MORSE.__getitem__, word)) for word in text.split())


# By kind; each takes a text of words in small letters.
DISGUISES: Mapping[str, tuple[Callable[[str], str], ...]] = {
    "tags": (_tags, _selectors),
    "invisible": (lambda text: "\u200b".join(text), lambda text: "\u202e" + "\u2060".join(text)),
    "marks": (_zalgo, lambda text: "".join(f"{c}\u0336" for c in text)),
    "nfkc": (
        _bold,
        _full_width,
        lambda t: "".join(chr(0x24D0 + ord(c) - 97) for c in t.replace(" ", "")),
    ),
    "confusables": (lambda text: text.translate(_TWINS),),
    "html": (lambda text: "".join(f"&#{ord(c)};" for c in text),),
    "percent": (quote, lambda text: "".join(f"%{ord(c):02X}" for c in text)),
    "escapes": (
        lambda text: "".join(f"\\x{ord(c):02x}" for c in text),
        lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    ),
    "base64": (
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.encodebytes(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
        lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
    ),
    "hex": (lambda text: text.encode().hex(), lambda text: text.encode().hex(" ")),
    "morse": (_morse, lambda text: _morse(text).replace("-", "−").replace(".", "·")),
    "spaced": (
        " ".join,
        lambda text: " ".join("-".join(word) for word in text.split()),
        lambda text: " ".join("💣".join(word) for word in text.split()),
    ),
    "leetspeak": (lambda text: text.translate(_LEET),),
    "repeated": (lambda text: "".join(c * 2 if c.isalpha() else c for c in text),),
    "rot13": (lambda text: codecs.encode(text, "rot13"),),
    "reversed": (lambda text: text[::-1],),
}
