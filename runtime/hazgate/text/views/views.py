"""The views of a text: its disguises undone, one after the other, beside the original. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hazgate.text.views.edits import OffsetMap, apply
from hazgate.text.views.kinds import KINDS, Kind
from hazgate.text.views.scan import scan_of

# Disguises in disguises are undone so many times.
MAX_DEPTH = 3
MAX_VIEWS = 2
# One character of NFKC may become 18: a view has at most twice the text's, and this.
_ROOM = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """One more reading of a text.

    `name` has the kinds that were undone, in order, joined by "+". `maps` lead from the view back
    to the text as written, the last first.
    """

    name: str
    text: str
    maps: tuple[OffsetMap, ...]

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Return the characters of the text as written behind those of the view."""
        for one in reversed(self.maps):
            start, end = one.source(start, end)
        return start, end

    def changes(self, start: int, end: int) -> bool:
        """Return True if the characters of the view from `start` to `end` are not as written."""
        for one in reversed(self.maps):
            if one.touches(start, end):
                return True
            start, end = one.source(start, end)
        return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """All views of a text, the most promising first; `left_out` names kinds that stay in them."""

    found: tuple[View, ...] = ()
    left_out: tuple[str, ...] = ()


NO_VIEWS = Views()


def views_of(text: str, names: Collection[str]) -> Views:
    """Return the views of a text: every disguise undone, and without the last doubtful steps.

    What a code hides is looked at again, at most MAX_DEPTH times; words are spelt anew only where
    no code is left.

    Args:
        text: any string.
        names: the kinds to undo, of `hazgate.text.views.kinds`.
    """
    kinds = [kind for kind in KINDS if kind.name in names]
    sure = [kind for kind in kinds if not kind.doubtful]
    doubtful = [kind for kind in kinds if kind.doubtful]
    undoing = _Undoing(text)
    for depth in range(1, MAX_DEPTH + 1):
        if undoing.undo(sure) and depth < MAX_DEPTH:
            continue
        if not undoing.undo(doubtful):
            break
    return undoing.views(kinds)


class _Undoing:
    """The steps from one text to its last view."""

    def __init__(self, text: str) -> None:
        self._scan = scan_of(text)
        self._text = text
        self._steps: list[View] = []
        # Steps before the first doubtful one.
        self._n_sure: int | None = None
        self._left_out: list[str] = []

    def undo(self, kinds: Sequence[Kind]) -> bool:
        """Undo some kinds in turn; return True if any was there."""
        n_steps = len(self._steps)
        for kind in kinds:
            after = self._next(kind)
            if after is None:
                continue
            if len(after.text) > 2 * len(self._text) + _ROOM:
                self._left_out.append(kind.name)
                continue
            if kind.doubtful and self._n_sure is None:
                self._n_sure = len(self._steps)
            self._steps.append(after)
            self._scan = scan_of(after.text)
        return len(self._steps) > n_steps

    def views(self, kinds: Sequence[Kind]) -> Views:
        """Return the last view and the one before anything doubtful; say which kinds are left."""
        left_out = self._left_out
        if self._steps:
            left_out = [*left_out, *(kind.name for kind in kinds if self._next(kind) is not None)]
        found = self._steps[-1:]
        if self._n_sure:
            found += self._steps[self._n_sure - 1 : self._n_sure]
        return Views(
            found=tuple(view for view in found if view.text != self._text),
            left_out=tuple(dict.fromkeys(left_out)),
        )

    def _next(self, kind: Kind) -> View | None:
        """Return a view with one more kind undone; None if it is not there."""
        edits = kind.undo(self._scan.text) if kind.may(self._scan) else ()
        if not edits:
            return None
        edited, way = apply(self._scan.text, edits)
        if not self._steps:
            return View(name=kind.name, text=edited, maps=(way,))
        before = self._steps[-1]
        name = "+".join(dict.fromkeys([*before.name.split("+"), kind.name]))
        return View(name=name, text=edited, maps=(*before.maps, way))
