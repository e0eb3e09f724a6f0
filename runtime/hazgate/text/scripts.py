"""Scripts: the letters of a text by script, and the scripts in which languages are written. Pure.

The blocks are those of Unicode's `Blocks.txt`, of which `unicodedata` says which characters are
letters; the standard library does not have the property Script itself.
"""

import functools
import re
import string
import unicodedata
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

LATIN = "Latin"
# Letters of every other script.
_OTHER = "other"
_BLOCKS: Mapping[str, str] = {
    LATIN: "A-Za-zª-ªº-º\u00c0-\u02af\u1d00-\u1d25\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua787"
    "\ua78b-\ua7ff\uab30-\uab64\ufb00-\ufb06\uff21-\uff3a\uff41-\uff5a",
    "Greek": "\u0370-\u03e1\u03f0-\u03ff\u1f00-\u1fff",
    "Cyrillic": "\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
    "Armenian": "\u0530-\u058f\ufb13-\ufb17",
    "Hebrew": "\u0590-\u05ff\ufb1d-\ufb4f",
    "Arabic": "\u0600-\u06ff\u0750-\u077f\u0870-\u08ff\ufb50-\ufdff\ufe70-\ufefe",
    "Syriac": "\u0700-\u074f",
    "Thaana": "\u0780-\u07bf",
    "Devanagari": "\u0900-\u097f\ua8e0-\ua8ff",
    "Bengali": "\u0980-\u09ff",
    "Gurmukhi": "\u0a00-\u0a7f",
    "Gujarati": "\u0a80-\u0aff",
    "Odia": "\u0b00-\u0b7f",
    "Tamil": "\u0b80-\u0bff",
    "Telugu": "\u0c00-\u0c7f",
    "Kannada": "\u0c80-\u0cff",
    "Malayalam": "\u0d00-\u0d7f",
    "Sinhala": "\u0d80-\u0dff",
    "Thai": "\u0e00-\u0e7f",
    "Lao": "\u0e80-\u0eff",
    "Tibetan": "\u0f00-\u0fff",
    "Myanmar": "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f",
    "Georgian": "\u10a0-\u10ff\u1c90-\u1cbf\u2d00-\u2d2f",
    "Hangul": "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7fb\uffa0-\uffdc",
    "Ethiopic": "\u1200-\u139f\u2d80-\u2ddf\uab00-\uab2f",
    "Khmer": "\u1780-\u17ff",
    "Mongolian": "\u1800-\u18af",
    "Kana": "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "Bopomofo": "\u3100-\u312f\u31a0-\u31bf",
    "Han": "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
}
# Scripts of languages, by primary tag (ISO 639). A language that is not here is written in Latin
# letters; one of several scripts is understood in each of them.
_SCRIPTS_OF: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("ar", "ary", "arz", "fa", "ps", "sd", "sdh", "ug", "ur"), ("Arabic",)),
    **dict.fromkeys(
        ("ab", "av", "ba", "be", "bg", "ce", "cv", "kk", "ky", "mk", "os", "ru", "tg", "tt", "uk"),
        ("Cyrillic",),
    ),
    **dict.fromkeys(("bho", "gom", "hi", "mai", "mr", "ne", "sa"), ("Devanagari",)),
    **dict.fromkeys(("as", "bn"), ("Bengali",)),
    **dict.fromkeys(("hbo", "he", "yi"), ("Hebrew",)),
    **dict.fromkeys(("el", "grc"), ("Greek",)),
    **dict.fromkeys(("am", "ti"), ("Ethiopic",)),
    **dict.fromkeys(("bo", "dz"), ("Tibetan",)),
    **dict.fromkeys(("az", "crh", "sr", "tk", "uz", "uzs"), (LATIN, "Cyrillic")),
    **dict.fromkeys(("wuu", "yue", "zh"), ("Han", "Bopomofo")),
    "dv": ("Thaana",),
    "gu": ("Gujarati",),
    "hy": ("Armenian",),
    "ja": ("Kana", "Han"),
    "ka": ("Georgian",),
    "km": ("Khmer",),
    "kn": ("Kannada",),
    "ko": ("Hangul", "Han"),
    "ku": (LATIN, "Arabic"),
    "lo": ("Lao",),
    "ml": ("Malayalam",),
    "mn": ("Cyrillic", "Mongolian"),
    "my": ("Myanmar",),
    "or": ("Odia",),
    "pa": ("Gurmukhi", "Arabic"),
    "si": ("Sinhala",),
    "syr": ("Syriac",),
    "ta": ("Tamil",),
    "te": ("Telugu",),
    "th": ("Thai",),
}
# Beyond, there are tags and areas for private use: no letters.
_N_CODES = 0x40000
_NAMES = (*_BLOCKS, _OTHER)
_ASCII_LETTERS = string.ascii_letters.encode("ascii")
_RANGE = re.compile("(?s)(.)-(.)")


def scripts_of(language: str) -> tuple[str, ...]:
    """Return the scripts in which a language is written, by its primary tag."""
    return _SCRIPTS_OF.get(language, (LATIN,))


def letters_by_script(text: str) -> dict[str, int]:
    """Count the letters of a text by script, those of scripts without a name here as "other".

    Marks are no letters. The time is linear in the text's length.
    """
    if text.isascii():
        n_letters = len(text) - len(text.encode("ascii").translate(None, _ASCII_LETTERS))
        return {LATIN: n_letters} if n_letters else {}
    counts = np.bincount(_scripts(_codes(text)), minlength=len(_NAMES) + 1)[1:]
    return {_NAMES[i]: int(counts[i]) for i in np.flatnonzero(counts)}


def without_letters_of_others(text: str, scripts: Collection[str]) -> str:
    """Return a text without the letters of scripts other than these."""
    if text.isascii() and LATIN in scripts:
        return text
    codes = _codes(text)
    stays = np.array([True, *(name in scripts for name in _NAMES)])
    kept: bytes = codes[stays[_scripts(codes)]].tobytes()
    return kept.decode("utf-32-le", "surrogatepass")


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _scripts(codes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return each character's script: its place in `_NAMES` and one, 0 if it is no letter."""
    return _table()[np.minimum(codes, _N_CODES)]


@functools.cache
def _table() -> NDArray[np.uint8]:
    """Return the script of each code point, shape [_N_CODES + 1]; the last is of those beyond."""
    is_letter = np.array([unicodedata.category(chr(code))[0] == "L" for code in range(_N_CODES)])
    found = np.zeros(_N_CODES + 1, dtype=np.uint8)
    found[:-1][is_letter] = len(_NAMES)
    for number, blocks in enumerate(_BLOCKS.values(), 1):
        for first, last in _RANGE.findall(blocks):
            block = slice(ord(first), ord(last) + 1)
            found[block][is_letter[block]] = number
    return found
