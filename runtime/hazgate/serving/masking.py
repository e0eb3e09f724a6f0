"""Masking: what a policy masks is replaced by markers, and the rest is judged again.

A hazard's rule masks a window, a token level's rule the spans that it found. What is returned was
judged as it is returned: masking goes on until nothing of it is blocked but markers, or ends with a
block. A part that nobody read, or of which nobody knows the rest, is never masked.
"""

import dataclasses
import itertools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Hashable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from hazgate.judging.policy import Policy
from hazgate.judging.speech import UNKNOWN_WORDS, Role
from hazgate.judging.verdict import Verdict
from hazgate.serving.blocking import BlockDecision
from hazgate.serving.bodies.passages import Passage, Path
from hazgate.serving.markers import (
    MARKER,
    Region,
    is_marked,
    marker_of,
    occurrences,
    with_markers,
)

# A text that still has something to mask after so many rounds is blocked.
_MAX_ROUNDS = 16
# Texts that are looked at, all searches together, for those that are a passage together.
_MAX_COMPARED = 1_000_000

D = TypeVar("D")


@dataclass(frozen=True, kw_only=True, slots=True)
class PassageMask:
    """Characters to mask in a passage: those of a window, and those of spans, if there are any.

    `window` is None, or the window's characters without white space at their ends; `spans` are
    regions of the passage.
    """

    passage: Passage
    window: Region | None
    spans: tuple[Region, ...]

    @classmethod
    def of(cls, passage: Passage, verdict: Verdict) -> "PassageMask":
        """Return what the decision of a verdict masks."""
        decision = verdict.decision
        if decision is None:
            raise RuntimeError("a verdict without a decision has nothing to mask")
        window = None
        if decision.masks_window:
            start, end = verdict.span.start, verdict.span.end
            part = passage.text[start:end]
            start += len(part) - len(part.lstrip())
            window = Region(start, start + len(part.strip()), MARKER)
        spans = (Region(span.start, span.end, marker_of(span.label)) for span in decision.spans)
        return cls(passage=passage, window=window, spans=tuple(spans))

    @property
    def window_text(self) -> str:
        """The characters of the window; empty without one."""
        return "" if self.window is None else self.passage.text[self.window.start : self.window.end]

    def is_done(self, known: Collection[str]) -> bool:
        """Return True if the passage has nothing but known markers where it is to be masked."""
        return self.window is None and is_marked(self.passage.text, self.spans, known)


async def decide_masking(
    document: D,
    decide: Callable[[D], Awaitable[BlockDecision]],
    mask: Callable[[D, Sequence[PassageMask], Collection[str]], D],
) -> tuple[BlockDecision, D]:
    """Decide on a document, masking what its policy masks.

    Args:
        document: what was said.
        decide: judges a document.
        mask: returns a document that is masked; an equal one if it cannot carry the masks. The
            third argument are the markers that may stand in it.

    Returns:
        The decision on the second value: the document, masked where it had to be. A reason to
        block stays where something cannot be masked.

    Raises:
        HazgateError: by `decide`.
    """
    decision = await decide(document)
    known = {MARKER}
    for _ in range(_MAX_ROUNDS):
        if decision.reason is None or not _may_mask(decision):
            break
        masks = [
            PassageMask.of(passage, verdict)
            for passage, verdict in zip(decision.blocked_passages, decision.blocked, strict=True)
        ]
        known |= {span.marker for one in masks for span in one.spans}
        if all(one.is_done(known) for one in masks):
            # A level that takes a marker for what it stands for finds nothing of the caller's.
            passed = dataclasses.replace(decision, reason=None, blocked=(), blocked_passages=())
            return passed, document
        masked = mask(document, masks, known)
        if masked == document:
            break
        after = await decide(masked)
        if after.failed_open is not None or _n_unjudged(after) > _n_unjudged(decision):
            # What is known to be unsafe does not pass because the engine then failed, because too
            # little is left to be understood, or because markers left no room for the end.
            break
        decision, document = after, masked
    return decision, document


def mask_strings(value: Any, masks: Sequence[PassageMask], known: Collection[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Mask strings of a JSON value, but no key; return it as it is if spans stand elsewhere.

    A window is replaced in every string that has it, spans in every string that is their passage,
    or in the strings of which the passage was made.
    """
    strings = {place: text for place, text in _strings(value, ()) if place is not None}
    edits = _edits(masks, strings, lambda passage: _pieces_at(value, passage))
    if edits is None:
        return value
    return _with_edits(value, (), edits, _windows(masks), known)


def mask_texts(
    texts: tuple[str, ...], masks: Sequence[PassageMask], known: Collection[str]
) -> tuple[str, ...]:
    """Mask some texts; return them as they are if spans stand elsewhere.

    A window is replaced in every text that has it, spans in every text that is their passage, or in
    neighbours that are their passage together.
    """
    # Each search looks at every text; a request with too many of both is blocked.
    n_searches = itertools.count(1)

    def pieces(passage: Passage) -> list[_Piece[int]]:
        return _pieces_of(texts, passage) if next(n_searches) * len(texts) < _MAX_COMPARED else []

    edits = _edits(masks, dict(enumerate(texts)), pieces)
    if edits is None:
        return texts
    windows = _windows(masks)
    return tuple(_masked(text, edits.get(i, ()), windows, known) for i, text in enumerate(texts))


def masks_spans(policy: Policy | None, tenant: str | None) -> bool:
    """Return whether a policy masks spans in a tenant's texts of any role."""
    roles: tuple[Role | None, ...] = (None, *get_args(Role))
    return policy is not None and any(policy.rules(tenant, role).masks_spans for role in roles)


def _may_mask(decision: BlockDecision) -> bool:
    """Return whether masks are all that every blocked text needs to pass."""
    return bool(decision.blocked) and all(
        verdict.decision is not None
        and verdict.decision.action == "mask"
        and verdict.understood
        and not verdict.truncated
        for verdict in decision.blocked
    )


def _n_unjudged(decision: BlockDecision) -> int:
    """Return how many texts were not understood, or not read to their end."""
    return decision.n_truncated + sum(part.kind == UNKNOWN_WORDS for part in decision.unread)


K = TypeVar("K", bound=Hashable)
# A string of a passage: its place, None for one that cannot be changed; and the number of its first
# character in the passage, and of its characters.
_Piece = tuple[K | None, int, int]


def _windows(masks: Sequence[PassageMask]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.window_text for one in masks if one.window_text))


def _edits(
    masks: Sequence[PassageMask],
    strings: Mapping[K, str],
    pieces: Callable[[Passage], Sequence[_Piece[K]]],
) -> dict[K, list[Region]] | None:
    """Return the regions to replace in each string because of spans, by its place.

    Args:
        masks: those without spans are skipped: their windows are replaced wherever they stand.
        strings: all strings that can be changed, by place.
        pieces: returns the strings of which a passage was made, none if they are not known.

    Returns:
        None if the spans of a passage stand where nothing can be changed.
    """
    places: defaultdict[str, list[K]] = defaultdict(list)
    wanted = {one.passage.text for one in masks if one.spans}
    for place, text in strings.items():
        if text in wanted:
            places[text].append(place)
    edits: defaultdict[K, list[Region]] = defaultdict(list)
    for one in masks:
        if not one.spans:
            continue
        text = one.passage.text
        parts: Sequence[_Piece[K]] = [(at, 0, len(text)) for at in places.get(text, ())]
        # The first passage that is not there ends the search: nothing of the document passes then.
        parts = parts or pieces(one.passage)
        if not parts:
            return None
        ends = [first + n_characters for _, first, n_characters in parts]
        for region in (*one.spans, *([one.window] if one.window is not None else [])):
            for i in range(bisect_right(ends, region.start), len(parts)):
                at, first, n_characters = parts[i]
                if first >= region.end:
                    break
                if at is None:
                    return None
                start = max(region.start, first)
                end = min(region.end, first + n_characters)
                if start < end:
                    edits[at].append(Region(start - first, end - first, region.marker))
    return dict(edits)


def _masked(
    text: str, regions: Sequence[Region], windows: Sequence[str], known: Collection[str]
) -> str:
    """Return a string with its regions and every occurrence of the windows replaced."""
    found = [
        Region(start, end, MARKER) for part in windows for start, end in occurrences(text, part)
    ]
    return with_markers(text, [*regions, *found], known) if regions or found else text


def _with_edits(
    value: Any,  # noqa: ANN401 - any JSON value
    path: Path,
    edits: Mapping[Path, Sequence[Region]],
    windows: Sequence[str],
    known: Collection[str],
) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return _masked(value, edits.get(path, ()), windows, known)
    if isinstance(value, list):
        return [_with_edits(v, (path, i), edits, windows, known) for i, v in enumerate(value)]
    if isinstance(value, dict):
        return {k: _with_edits(v, (path, k), edits, windows, known) for k, v in value.items()}
    return value


def _strings(value: Any, path: Path) -> Iterator[tuple[Path | None, str]]:  # noqa: ANN401
    """Yield each string of a JSON value with its place, and each key, which has none."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _strings(item, (path, i))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield None, key
            yield from _strings(item, (path, key))


def _pieces_at(value: Any, passage: Passage) -> list[_Piece[Path]]:  # noqa: ANN401
    """Return the strings of a JSON value that were joined to a passage, at its place or around."""
    path = passage.place
    while True:
        found = _joined(passage.text, _strings(_at(value, path), path))
        if found or not path:
            return found
        path = path[0]


def _at(value: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Return what stands at a place of a JSON value; None if there is none."""
    if not path:
        return value
    parent = _at(value, path[0])
    key = path[1]
    if isinstance(parent, dict):
        return parent.get(key)
    if isinstance(parent, list) and isinstance(key, int) and key < len(parent):
        return parent[key]
    return None


def _joined(text: str, strings: Iterator[tuple[K | None, str]]) -> list[_Piece[K]]:
    """Return strings that are, line by line, a text, in their order; none if they are not all."""
    found: list[_Piece[K]] = []
    at = 0
    for place, string in strings:
        end = at + len(string)
        if string and text.startswith(string, at) and text[end : end + 1] in ("", "\n"):
            found.append((place, at, len(string)))
            at = end + 1
            if end == len(text):
                return found
    return []


def _pieces_of(texts: Sequence[str], passage: Passage) -> list[_Piece[int]]:
    """Return neighbours among texts that were joined to a passage; none if there are none."""
    for first, start in enumerate(texts):
        if not start or not passage.text.startswith(f"{start}\n"):
            continue
        at, found = 0, list[_Piece[int]]()
        for i in range(first, len(texts)):
            if not passage.text.startswith(texts[i], at):
                break
            found.append((i, at, len(texts[i])))
            at += len(texts[i]) + 1
            if at == len(passage.text) + 1:
                return found
            if passage.text[at - 1 : at] != "\n":
                break
    return []
