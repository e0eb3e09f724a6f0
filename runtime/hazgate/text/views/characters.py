"""Views of texts with characters that nobody sees, or in other forms of letters. Pure."""

import re
import unicodedata
from itertools import chain

from hazgate.text.views.edits import Edit, replaced
from hazgate.text.views.letters import is_text

# Scripts, and emoji, that need joiners or have spaces without width between words.
_JOINED = (
    "\u0600-\u08ff\u0900-\u109f\u1780-\u18af\ufb50-\ufdff\ufe0f\ufe70-\ufefc"
    "\u2190-\u2bff\U0001f000-\U0001faff"
)
_ALWAYS_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb"
)
# Classes of characters, as in a regular expression.
INVISIBLE = f"{_ALWAYS_INVISIBLE}\u200b-\u200d\ufe0e\ufe0f"
SELECTORS = "\ufe00-\ufe0f"
_INVISIBLE = re.compile(
    f"[{_ALWAYS_INVISIBLE}]+|(?<![{_JOINED}])[\u200b-\u200d]+|(?<=[^\\W\\d_])[\ufe0e\ufe0f]+"
)
# A flag of a region is a black flag and tags.
_TAGS = re.compile("(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0001\U000e0020-\U000e007f]+")
_TAG_OFFSET = 0xE0000
_SELECTORS = re.compile("[\ufe00-\ufe0d\U000e0100-\U000e01ef]+|[\ufe0e\ufe0f]{2,}")
_LEAST_SELECTORS = 4
# Marks over, under and through letters of Latin, Greek and Cyrillic. Hebrew, Arabic, Indic
# scripts and Thai have blocks of their own.
MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_MARKED = re.compile(f"[^{MARKS}]?[{MARKS}]+")
_ONE_MARK = re.compile(f"[{MARKS}]")
_STACK = re.compile(f"[{MARKS}]{{3}}")
_LEAST_MARKED_SHARE = 0.25
# Letters and digits in other forms. Punctuation, which Chinese and Japanese write in full width,
# and ideographs stay.
COMPATIBLE = (
    "\u00aa\u00ba\u02b0-\u02b8\u02e0-\u02e4\u1d2c-\u1d6a\u1d78\u1d9b-\u1dbf\u2070-\u209c"
    "\u2100-\u2115\u2119-\u211d\u2124-\u2138\u213c-\u213f\u2145-\u2149\u2160-\u217f"
    "\u2460-\u24ff\u2c7c\u2c7d\u3200-\u321e\u3260-\u327e\ua69c\ua69d\ua770\ua7f8\ua7f9"
    "\uab5c-\uab5f\ufb00-\ufb4f\ufb50-\ufbb1\ufbd3-\ufdfb\ufe70-\ufefc\uff10-\uff19\uff21-\uff3a"
    "\uff41-\uff5a\uff66-\uffdc\U0001d400-\U0001d7ff\U0001ee00-\U0001eebb\U0001f100-\U0001f149"
    "\U0001fbf0-\U0001fbf9"
)
_COMPATIBLE = re.compile(f"[{COMPATIBLE}]+")
# What stands between words in full width.
_WIDE_GAP = re.compile("(?<=[\uff01-\uff5e])[\u3000\uff01-\uff0f\uff1a-\uff20]+")
_LEAST_COMPATIBLE = 3


def tags(text: str) -> list[Edit]:
    """Write tag characters as the ASCII that they stand for, and selectors as their bytes."""
    found = [*replaced(text, _TAGS, lambda match: _untagged(match[0])), *_selected(text)]
    return sorted(found, key=lambda edit: edit.start)


def invisible(text: str) -> list[Edit]:
    """Take out characters without width, and those that turn the direction of writing."""
    return replaced(text, _INVISIBLE, lambda _: "")


def marks(text: str) -> list[Edit]:
    """Take out marks that belong to no letter, if they are stacked or on many letters."""
    found = replaced(text, _MARKED, lambda match: _without_marks(match[0]))
    if not found or _STACK.search(text) is not None:
        return found
    n_letters = sum(map(str.isalpha, text))
    return found if len(found) >= _LEAST_MARKED_SHARE * n_letters else []


def compatible(text: str) -> list[Edit]:
    """Write letters and digits of other forms, e.g. bold or full width, in their own (NFKC)."""
    found = list(chain.from_iterable(map(_composed, _COMPATIBLE.finditer(text))))
    if sum(sum(map(str.isalpha, edit.text)) for edit in found) < _LEAST_COMPATIBLE:
        return []
    gaps = chain.from_iterable(map(_composed, _WIDE_GAP.finditer(text)))
    return sorted([*found, *gaps], key=lambda edit: edit.start)


def _untagged(run: str) -> str:
    codes = [ord(c) - _TAG_OFFSET for c in run]
    return "".join(chr(code) for code in codes if 0x20 <= code < 0x7F)


def _selected(text: str) -> list[Edit]:
    """Write the bytes that variation selectors carry as text; leave them if they are none."""
    runs = list(_SELECTORS.finditer(text))
    codes = [ord(c) for run in runs for c in run[0]]
    if len(codes) < _LEAST_SELECTORS:
        return []
    data = bytes(code - 0xFE00 if code < 0xFFFF else code - 0xE0100 + 16 for code in codes)
    try:
        hidden = data.decode("utf-8")
    except UnicodeDecodeError:
        return []
    if not is_text(hidden):
        return []
    first, *others = runs
    return [
        Edit(start=first.start(), end=first.end(), text=hidden),
        *(Edit(start=run.start(), end=run.end(), text="") for run in others),
    ]


def _without_marks(run: str) -> str | None:
    """Return a character without the marks that do not belong to it; None if all do.

    Marks belong to a letter if Unicode has both as one, and no stack of them does.
    """
    if _STACK.search(run):
        return _ONE_MARK.sub("", run[0])
    composed = unicodedata.normalize("NFC", run)
    kept = _ONE_MARK.sub("", composed)
    return kept if kept != composed else None


def _composed(match: re.Match[str]) -> list[Edit]:
    """Return the edits of a run: one if it stays as long, else one for each character."""
    run, start = match[0], match.start()
    whole = unicodedata.normalize("NFKC", run)
    if len(whole) == len(run):
        return [Edit(start=start, end=match.end(), text=whole)] if whole != run else []
    return [
        Edit(start=start + i, end=start + i + 1, text=unicodedata.normalize("NFKC", c))
        for i, c in enumerate(run)
    ]
