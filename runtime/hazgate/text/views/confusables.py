"""Views of words in letters that look like those of another script (UTS #39). Pure."""

import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from re import Pattern

from hazgate.text.views.edits import Edit

_LATIN = re.compile("[A-Za-z]")
# Scripts whose words are written with letters of Latin among them.
_SCRIPTS = {"CYRILLIC": "\u0400-\u052f", "GREEK": "\u0370-\u03ff"}
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff]{3,}")
_TOKEN = re.compile(r"\S+")
_ADDRESS = re.compile(r"(?i)://|www\.|\w@\w|\w\.(?:com|net|org|info|io|ru|de|gov|edu)(?![\w.])")
# Of words in other scripts, more letters than these are like none of Latin.
_LEAST_OTHER_SHARE = 0.15


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusables:
    """Letters of ASCII and their twins in other scripts.

    `to_latin` has the letter of each twin. `from_latin` has, by script, the twin of each letter.
    `twin` finds one twin, `word` a word that may have some, and `mixed` two letters of two scripts
    side by side.
    """

    to_latin: Mapping[int, str]
    from_latin: Mapping[str, Mapping[int, str]]
    twin: Pattern[str]
    word: Pattern[str]
    mixed: Pattern[str]


@functools.cache
def _confusables() -> Confusables:
    table = files("hazgate.text.views").joinpath("confusables.tsv").read_text("utf-8")
    to_latin = {
        ord(twin): letter
        for letter, twins in (line.split("\t") for line in table.splitlines())
        for twin in twins
    }
    from_latin: dict[str, dict[int, str]] = {script: {} for script in _SCRIPTS}
    for code, letter in to_latin.items():
        name = unicodedata.name(chr(code), "").split()
        if name[:1] and name[0] in _SCRIPTS and len(name) == 4:
            from_latin[name[0]].setdefault(ord(letter), chr(code))
    twins = "".join(map(chr, to_latin))
    symbols = "".join(c for c in twins if not c.isalnum() and not c >= "\U0001f1e6")
    foreign = twins + "".join(_SCRIPTS.values())
    return Confusables(
        to_latin=to_latin,
        from_latin=from_latin,
        twin=re.compile(f"[{twins}]"),
        word=re.compile(rf"[\w{symbols}]+"),
        mixed=re.compile(f"[A-Za-z][{foreign}]|[{foreign}][A-Za-z]"),
    )


def twins() -> str:
    """Return the characters that have a twin in ASCII."""
    return "".join(map(chr, _confusables().to_latin))


def is_in_latin(n_latin: int, n_twins: int, n_other: int) -> bool:
    """Return True if a text of so many letters is in Latin, or pretends to be in another script.

    Args:
        n_latin: letters of ASCII.
        n_twins: letters that have a twin there.
        n_other: other letters.
    """
    return n_latin >= n_twins + n_other or n_other < _LEAST_OTHER_SHARE * n_twins


def confusable(text: str) -> list[Edit]:
    """Write letters that look like those of another script in the script of their word.

    A word whose every letter has a twin is written in the text's script. Words of web and mail
    addresses stay, and so do letters alone in a text with no such words.
    """
    table = _confusables()
    if text.isascii() or not (table.twin.search(text) or table.mixed.search(text)):
        return []
    n_twins = len(table.twin.findall(text))
    others = [c for c in text if not c.isascii() and c.isalpha() and ord(c) not in table.to_latin]
    script = None
    if not is_in_latin(len(_LATIN.findall(text)), n_twins, len(others)):
        script = _script_of(others)
        if not table.mixed.search(text):
            return []
    found = [
        Edit(start=m.start(), end=m.end(), text=m[0].translate(table.to_latin))
        for m in _REGIONAL.finditer(text)
    ]
    for token in _TOKEN.finditer(text):
        if token[0].isascii() or _ADDRESS.search(token[0]):
            continue
        for match in table.word.finditer(token[0]):
            new = _in_one_script(match[0], table, script)
            if new != match[0]:
                start = token.start() + match.start()
                found.append(Edit(start=start, end=start + len(new), text=new))
    if all(edit.end - edit.start == 1 for edit in found):
        return []
    return sorted(found, key=lambda edit: edit.start)


def _in_one_script(word: str, table: Confusables, script: str | None) -> str:
    """Return a word in the script of its letters without a twin, else in the text's.

    Args:
        word: letters of any scripts.
        table: the twins.
        script: the script of the text; None for Latin.
    """
    latin = _LATIN.findall(word)
    n_twins = len(table.twin.findall(word))
    others = [c for c in word if ord(c) not in table.to_latin and not c.isascii()]
    script = _script_of(others) or script
    if script is None:
        return word.translate(table.to_latin) if n_twins else word
    back = table.from_latin.get(script, {})
    if latin and (n_twins or others) and all(ord(c) in back for c in latin):
        return word.translate(back)
    return word


def _script_of(letters: list[str]) -> str | None:
    """Return the first script of some letters that is not Latin; None if there is none."""
    names = (unicodedata.name(c, "").split(" ", 1)[0] for c in letters if c.isalpha())
    return next((name for name in names if name != "LATIN"), None)
