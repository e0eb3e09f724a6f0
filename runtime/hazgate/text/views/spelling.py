"""Views of words in unusual spelling: letters apart, in digits, or repeated. Pure."""

import re
from collections.abc import Iterator
from itertools import product
from re import Match

from hazgate.text.views.edits import Edit, replaced
from hazgate.text.views.letters import bits_per_letter, looks_like_words, split_words

_LETTER = r"[^\W\d_]"
# The most bits a letter of words that were put together.
_MAX_BITS = 7.0

# Single characters with spaces between them; more spaces stand between words.
_SPACED = re.compile(r"(?<!\S)\S(?:[ \t\u3000\u2002-\u200a]{1,5}\S(?!\S)){3,}")
_GAP = re.compile(r"[ \t\u3000\u2002-\u200a]+")
_POINTED = re.compile(r"(?<!\w)[^\W_]([.\-_*~|/+=,:;•·'])[^\W_](?:\1[^\W_])+(?![^\W_])(?!\1\w)")
_EMOJI = (
    "[\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001f0ff"
    "\U0001f300-\U0001faff\u200d\ufe0f]+"
)
_EMOJI_INSIDE = re.compile(f"(?<={_LETTER}){_EMOJI}(?={_LETTER})")
_EMOJI_BESIDE = re.compile(f"(?<={_LETTER}){_EMOJI}|{_EMOJI}(?={_LETTER})")
_LEAST_EMOJI = 3

_LEET = {
    "0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b",
    "@": "a", "$": "s", "!": "i", "|": "il", "€": "e", "£": "l",
}  # fmt: skip
_SIGNS = "[013457-8@$!|€£]"
_INNER = re.compile(f"[A-Za-z]{_SIGNS}+[A-Za-z]")
_LEET_WORD = re.compile(r"[\w@$€£]+(?:[!|]+[\w@$€£]+)*")
_HEX_WORD = re.compile("[0-9a-fA-F]{6,}")
_MAX_LEET_WORD = 24
_MAX_BITS_OF_LEET = 6.2
_LEAST_LEET_WORDS = 2
# One word is enough if it is one beyond doubt.
_MAX_BITS_OF_ONE, _SHORT = 4.2, 3
_LEAST_LEET_SHARE = 0.25

_LATIN = "A-Za-z\u00c0-\u024f\u0370-\u04ff"
_REPEATED = re.compile(rf"(?i)([{_LATIN}])\1{{2,}}")
_DOUBLED = re.compile(rf"(?i)(?<![{_LATIN}])(?:([{_LATIN}])\1)+(?![{_LATIN}])")
_PAIR = re.compile(r"(?is)(\w)\1")
_LEAST_DOUBLED_LETTERS = 6
_LEAST_DOUBLED_SHARE = 0.5
_WORD = re.compile(f"{_LETTER}+")


def joined(text: str) -> list[Edit]:
    """Put letters together that stand apart: with spaces, points or emoji between them."""
    found = [*_without_spaces(text), *_without_points(text), *_without_emoji(text)]
    return _disjoint(sorted(found, key=lambda edit: (edit.start, edit.end)))


def leetspeak(text: str) -> list[Edit]:
    """Write words in digits and signs as letters, in lines that have several or mostly such."""
    if not _INNER.search(text):
        return []
    found: list[Edit] = []
    start = 0
    for line in text.splitlines(keepends=True):
        if _INNER.search(line):
            found.extend(_in_letters(line, start))
        start += len(line)
    return found


def repeated(text: str) -> list[Edit]:
    """Write letters once that are repeated, or that are all doubled."""
    return _halved(text) or replaced(text, _REPEATED, lambda match: _once(text, match))


def _disjoint(edits: list[Edit]) -> list[Edit]:
    kept: list[Edit] = []
    for edit in edits:
        if not kept or edit.start >= kept[-1].end:
            kept.append(edit)
    return kept


def _without_spaces(text: str) -> Iterator[Edit]:
    for match in _SPACED.finditer(text):
        run = match[0]
        if sum(map(str.isalpha, run)) < len(_GAP.sub("", run)) * 0.6:
            continue
        gaps = list(_GAP.finditer(run))
        shortest = min(len(gap[0]) for gap in gaps)
        words = [word for word in re.split(rf"{_GAP.pattern[:-1]}{{{shortest + 1},}}", run) if word]
        together = [_GAP.sub("", word) for word in words]
        if not looks_like_words(" ".join(together), _MAX_BITS):
            continue
        has_words = len(words) > 1
        begins = set() if has_words else set(_word_begins(together[0]))
        for i, gap in enumerate(gaps, start=1):
            is_between = len(gap[0]) > shortest if has_words else i in begins
            new = " " if is_between else ""
            if new != gap[0]:
                at = match.start() + gap.start()
                yield Edit(start=at, end=at + len(gap[0]), text=new)


def _word_begins(letters: str) -> Iterator[int]:
    """Yield where words begin among letters and signs without gaps, but for the first."""
    for match in _WORD.finditer(letters):
        for at in split_words(match[0]):
            if at:
                yield match.start() + at


def _without_points(text: str) -> Iterator[Edit]:
    for match in _POINTED.finditer(text):
        letters = match[0][::2]
        if not letters.isalpha() or not looks_like_words(letters, _MAX_BITS):
            continue
        begins = {2 * i for i in _word_begins(letters)}
        for i in range(1, len(match[0]), 2):
            at = match.start() + i
            yield Edit(start=at, end=at + 1, text=" " if i + 1 in begins else "")


def _without_emoji(text: str) -> list[Edit]:
    if text.isascii():
        return []
    inside = replaced(text, _EMOJI_INSIDE, lambda _: "")
    if len(inside) < _LEAST_EMOJI:
        return []
    return replaced(text, _EMOJI_BESIDE, lambda _: "")


def _in_letters(line: str, offset: int) -> Iterator[Edit]:
    """Yield the edits of one line that begins at `offset`."""
    words = [match for match in _LEET_WORD.finditer(line) if len(match[0]) <= _MAX_LEET_WORD]
    spelt = [_spelt(match[0]) for match in words]
    sure = [
        new is not None
        and _INNER.search(match[0]) is not None
        and not _HEX_WORD.fullmatch(match[0])
        for match, new in zip(words, spelt, strict=True)
    ]
    n_sure = sum(sure)
    is_mostly = n_sure >= _LEAST_LEET_SHARE * len(words)
    is_word = any(
        bits_per_letter(new) <= _MAX_BITS_OF_ONE
        for new, is_sure in zip(spelt, sure, strict=True)
        if new is not None and is_sure and len(new) > _SHORT
    )
    if not n_sure or (n_sure < _LEAST_LEET_WORDS and not is_mostly and not is_word):
        return
    for match, new, is_sure in zip(words, spelt, sure, strict=True):
        if new is not None and (is_sure or is_mostly):
            yield Edit(start=offset + match.start(), end=offset + match.end(), text=new)


def _spelt(word: str) -> str | None:
    """Return the likeliest spelling of a word in letters; None if it has none, or has no signs."""
    choices = [_LEET.get(c, c) for c in word]
    if not all(choice.isalpha() for choice in choices) or word.isalpha():
        return None
    n_open = sum(len(choice) > 1 for choice in choices)
    if n_open > 3:
        choices = [choice[0] for choice in choices]
    spellings = ("".join(letters) for letters in product(*choices))
    best = min(spellings, key=bits_per_letter)
    return best if bits_per_letter(best) <= _MAX_BITS_OF_LEET else None


def _halved(text: str) -> list[Edit]:
    """Return the edits of a text whose words have all their letters twice."""
    doubled = sum(len(match[0]) for match in _DOUBLED.finditer(text))
    if doubled < _LEAST_DOUBLED_LETTERS:
        return []
    n_letters = sum(map(str.isalpha, text))
    if doubled < _LEAST_DOUBLED_SHARE * n_letters:
        return []
    return [
        edit
        for match in _DOUBLED.finditer(text)
        for edit in (
            Edit(start=at, end=at + 2, text=text[at]) for at in range(match.start(), match.end(), 2)
        )
    ]


def _once(text: str, match: Match[str]) -> str | None:
    """Return a repeated letter once or twice, as its word is likelier; a word of it stays."""
    start, end = match.span()
    before = _tail(text[max(0, start - 16) : start])
    after = _head(text[end : end + 16])
    if not before and not after:
        return None
    letter = match[0][0]
    once, twice = (bits_per_letter(before + n * letter + after) for n in (1, 2))
    if min(once, twice) > _MAX_BITS:
        return None
    return letter if once <= twice else 2 * letter


def _tail(text: str) -> str:
    words = list(_WORD.finditer(text))
    return words[-1][0] if words and words[-1].end() == len(text) else ""


def _head(text: str) -> str:
    word = _WORD.match(text)
    return word[0] if word else ""
