"""Walk a JSON value and collect every string of it, but for those that are known to be no text."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from hazgate.errors import InputError
from hazgate.judging.speech import Role, Side, UnreadKind, role_named
from hazgate.serving.bodies.fields import Field, Form, Place
from hazgate.serving.bodies.passages import (
    BodyText,
    Passage,
    Path,
    Unread,
    spelt,
)
from hazgate.serving.bodies.strict_json import MAX_DEPTH, parse_lenient
from hazgate.serving.bodies.table import KEYS, MEDIA, NAMES, SCHEMA_WORDS, TYPES, fields_at

# Strings of an application's own objects that are longer than this, or have more words, are
# passages of their own: nothing drowns in them. The short ones of one object are read together.
_SHORT_CHARACTERS = 40
_SHORT_WORDS = 2
# Members that say which of several growing texts an event goes on with.
_IDENTITY = ("type", "index", "output_index", "content_index", "summary_index", "item_id")
_FIELDS: Mapping[Place, Mapping[str, Field]] = {
    place: fields_at(place) for place in get_args(Place)
}

_ROOT: Path = ()


class _Context(NamedTuple):
    """Rules for the strings at some place: who speaks there, and what is no text."""

    place: Place
    role: Role
    form: Form | None = None
    joined: bool = False
    nested: bool = False
    ids: bool = False


class _Found:
    """Strings that are read as one passage; `n_taken` of them were handed out already."""

    __slots__ = ("joined", "n_taken", "nested", "path", "repeats", "role", "strings")

    def __init__(self, path: Path, role: Role, text: str, *, joined: bool, nested: bool) -> None:
        self.path = path
        self.role = role
        self.joined = joined
        self.nested = nested
        self.strings = [text]
        self.n_taken = 0
        # A string that every event repeats, as a name does, is no growing text.
        self.repeats = not (joined or nested)

    def take(self) -> str:
        """Return the text that came since the last call, and keep no more of it than needed."""
        strings = self.strings
        new = strings[self.n_taken :]
        self.repeats = self.repeats and len(set(strings)) == 1
        if self.repeats and self.n_taken:
            new = []
        elif self.repeats:
            new = strings[:1]
        self.strings = strings[:1]
        self.n_taken = 1
        return "".join(new)


def read_value(value: object, side: Side) -> BodyText:
    """Read one JSON document.

    Args:
        value: what a strict parser returned.
        side: "request" or "response": who speaks where the body does not say.

    Raises:
        InputError: the value holds token ids, keys that are equal but for case, a lone
            surrogate, or nests deeper than 100 levels; the message has the path.
    """
    walk = _Walk(side=side, growing=False)
    walk.visit_root(value)
    return walk.result()


def read_events(events: Sequence[object], side: Side = "response") -> BodyText:
    """Read the events of a stream, the pieces of each growing text joined.

    Raises:
        InputError: as in `read_value`, of any event.
    """
    walk = _Walk(side=side, growing=True)
    for event in events:
        walk.visit_root(event)
    return walk.result()


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """New characters of one growing text of a stream, and the key that names it.

    `nested` texts may be JSON inside a string.
    """

    key: Hashable
    text: str
    place: Path
    role: Role
    nested: bool


class EventReader:
    """A reader of a stream's events, one after another; see `read_events`."""

    def __init__(self, side: Side = "response") -> None:
        """Start before the first event."""
        self._walk = _Walk(side=side, growing=True)
        self._n_unread = 0

    def add(self, event: object) -> None:
        """Read the next event.

        Raises:
            InputError: as in `read_events`.
        """
        self._walk.visit_root(event)

    def grown(self) -> list[Growth]:
        """Return what each text gained since the last call."""
        return self._walk.grown()

    def unread(self) -> list[Unread]:
        """Return the parts that are no text and came since the last call."""
        parts = self._walk.unread()[self._n_unread :]
        self._n_unread += len(parts)
        return parts


class _Walk:
    """One walk over a body, or over the events of a stream."""

    def __init__(self, *, side: Side, growing: bool) -> None:
        self._default: Role = "user" if side == "request" else "assistant"
        self._growing = growing
        self._found: dict[Hashable, _Found] = {}
        self._touched: dict[Hashable, _Found] = {}
        self._unread: dict[Path, UnreadKind] = {}
        self._contexts: dict[tuple[int, Place, Role, bool], _Context] = {}
        self._inside: dict[tuple[Place, Role, Form | None], _Context] = {}
        self._checked_keys: set[tuple[str, ...]] = set()
        self._stream = ""

    def visit_root(self, value: object) -> None:
        if isinstance(value, str):
            self._add(value, self._default, _ROOT, _ROOT, joined=True)
            return
        self._visit(value, _Context(place="body", role="unknown"), _ROOT, _ROOT, 0)

    def result(self) -> BodyText:
        passages: dict[tuple[Role, str], Passage] = {}
        for found in self._found.values():
            for text in self._texts(found):
                key = (found.role, text)
                if text and not text.isspace():
                    # What is said again stands where it was said last: it may be the newest turn.
                    passages.pop(key, None)
                    passages[key] = Passage(text=text, place=found.path, role=found.role)
        return BodyText(passages=tuple(passages.values()), unread=tuple(self.unread()))

    def unread(self) -> list[Unread]:
        return [Unread(kind=k, place=p) for p, k in self._unread.items()]

    def grown(self) -> list[Growth]:
        touched, self._touched = self._touched, {}
        return [
            Growth(key=key, text=text, place=found.path, role=found.role, nested=found.nested)
            for key, found in touched.items()
            if (text := found.take())
        ]

    def _texts(self, found: _Found) -> Iterator[str]:
        strings = found.strings
        if not self._growing:
            yield strings[0] if len(strings) == 1 else "\n".join(strings)
            return
        # A string that every event repeats, as a name does, is no growing text.
        grows = found.joined or found.nested or len(set(strings)) > 1
        text = "".join(strings) if grows else strings[0]
        inner = parse_lenient(text) if found.nested else None
        if inner is None:
            yield text
            return
        walk = _Walk(side="response", growing=False)
        context = _Context(place="free", role=found.role)
        walk._visit(inner, context, found.path, found.path, 1)
        yield from (passage.text for passage in walk.result().passages)

    def _visit(self, value: object, context: _Context, group: Path, path: Path, depth: int) -> None:
        kind = type(value)
        if kind is str:
            self._read(value, context, group, path)  # type: ignore[arg-type] # a string
        elif kind is dict:
            self._visit_object(value, context, group, path, depth + 1)  # type: ignore[arg-type]
        elif kind is list:
            self._visit_list(value, context, group, path, depth + 1)  # type: ignore[arg-type]

    def _visit_list(
        self, items: list[object], context: _Context, group: Path, path: Path, depth: int
    ) -> None:
        _check_depth(depth)
        if context.ids and items and all(type(item) is int for item in items):
            raise InputError(
                f"{_named(path)}: token ids cannot be read; send the text that they stand for"
            )
        place = context.place
        apart = place in ("turn", "definition", "call", "event")
        # A list of strings where turns may stand: inputs, each a text of its own.
        inputs = place == "turn" and not context.joined
        for i, item in enumerate(items):
            below = (path, i)
            kind = type(item)
            if kind is dict and self._growing and type(item.get("index")) is int:  # type: ignore[attr-defined]
                below = (path, item["index"])  # type: ignore[index]
            if kind is str:
                if inputs:
                    self._add(item, context.role, below, below, joined=True)  # type: ignore[arg-type]
                else:
                    self._read(item, context, group, below)  # type: ignore[arg-type]
            else:
                self._visit(item, context, below if apart else group, below, depth)

    def _visit_object(
        self,
        data: dict[str, object],
        context: _Context,
        group: Path,
        path: Path,
        depth: int,
    ) -> None:
        _check_depth(depth)
        place, role = context.place, context.role
        if place != "free":
            self._check_keys(data, path)
        if depth == 1 and self._growing:
            self._stream = "|".join(str(data[name]) for name in _IDENTITY if name in data)
        kind = data.get("type")
        named = type(kind) is str
        media = False
        if place in ("turn", "part"):
            role = self._speaker(data.get("role"), kind, context)
            if named and kind in MEDIA:
                media = True
                self._unread.setdefault(path, MEDIA[kind])  # type: ignore[index]
        fields = _FIELDS[place]
        for key, value in data.items():
            if key == "type" and named and _is_type(kind, place):  # type: ignore[arg-type]
                continue
            known = fields.get(key)
            if known is None:
                self._visit_unknown(key, value, context, role, group, path, depth)
                continue
            of = type(value)
            below = (path, key)
            is_text = of is str and known.form is not None
            if is_text and known.form(value):  # type: ignore[misc,arg-type] # checked above
                if known.unread is not None:
                    self._unread.setdefault(path if media else below, known.unread)
                continue
            if of is not str and of is not dict and of is not list and known.unread is None:
                continue
            if known.unread is not None and value is not None and not is_text:
                self._unread.setdefault(path if media else below, known.unread)
            entered = self._entered(known, context, role, is_string=of is str)
            # Parts of one turn's content are one text.
            keeps = place == "part" and context.joined and known.joined and not known.apart
            inside = group if keeps else below
            if of is str:
                self._read(value, entered, inside, below)  # type: ignore[arg-type]
            else:
                self._visit(value, entered, inside, below, depth)

    def _check_keys(self, data: dict[str, object], path: Path) -> None:
        """Refuse keys that are equal but for case; objects of one body share few sets of keys."""
        keys = tuple(data)
        if keys in self._checked_keys:
            return
        if len({key.casefold() for key in keys}) != len(keys):
            raise InputError(
                f"{_named(path)}: two keys are equal but for case; parsers differ in which they "
                "take"
            )
        self._checked_keys.add(keys)

    def _visit_unknown(
        self,
        key: str,
        value: object,
        context: _Context,
        role: Role,
        group: Path,
        path: Path,
        depth: int,
    ) -> None:
        place = context.place
        below = (path, key)
        if place in ("body", "turn", "event"):
            group = below
            if place == "body" and role == "unknown" and type(value) is str:
                role = self._default
        if place == "free" or key not in KEYS:
            self._add(key, role, group, (below, "*"))
        of = type(value)
        if of is not str and of is not dict and of is not list:
            return
        named = (place, role, context.form)
        inside = self._inside.get(named)
        if inside is None:
            at: Place = place if place in ("free", "definition", "media") else "free"
            form = context.form
            if form is None and place == "definition":
                form = SCHEMA_WORDS.__contains__
            inside = self._inside[named] = _Context(place=at, role=role, form=form)
        if of is str:
            self._read(value, inside, group, below)  # type: ignore[arg-type]
        else:
            self._visit(value, inside, group, below, depth)

    def _entered(self, known: Field, context: _Context, role: Role, *, is_string: bool) -> _Context:
        """Return the context below a known key; made once per field, place and speaker."""
        key = (id(known), context.place, role, is_string)
        made = self._contexts.get(key)
        if made is None:
            place = known.place or ("definition" if context.place == "definition" else "free")
            speaker = known.role or role
            if speaker == "unknown":
                speaker = self._default
            if place == "definition" and not is_string:
                speaker = "definition"
            made = self._contexts[key] = _Context(
                place, speaker, known.form, known.joined, known.nested, known.ids
            )
        return made

    def _speaker(self, named: object, kind: object, context: _Context) -> Role:
        if type(named) is str and context.place == "turn":
            return role_named(named)
        by_type = TYPES.get(kind) if type(kind) is str else None
        return by_type or (self._default if context.role == "unknown" else context.role)

    def _read(self, text: str, context: _Context, group: Path, path: Path) -> None:
        if context.form is not None and context.form(text):
            return
        if context.nested and not self._growing:
            inner = parse_lenient(text)
            if inner is not None:
                plain = context._replace(joined=False, nested=False)
                self._visit(inner, plain, group, path, 1)
                return
        self._add(text, context.role, group, path, joined=context.joined, nested=context.nested)

    def _add(
        self,
        text: str,
        role: Role,
        group: Path,
        path: Path,
        *,
        joined: bool = False,
        nested: bool = False,
    ) -> None:
        if not text:
            return
        if not text.isascii() and not _is_well_formed(text):
            raise InputError(
                f"{_named(path)}: the string holds a lone surrogate, which no text has"
            )
        # A group is named by its identity: what is found in it holds on to it.
        key: Hashable
        grows = True
        if self._growing:
            key = (self._stream, path, role)
        elif joined:
            key = (id(group), role)
        elif len(text) <= _SHORT_CHARACTERS and len(text.split(None, _SHORT_WORDS)) <= _SHORT_WORDS:
            key = (id(group), role, "short")
        else:
            key, grows = (text, role, "alone"), False
        found = self._found.get(key)
        if found is None:
            found = _Found(group if joined else path, role, text, joined=joined, nested=nested)
            self._found[key] = found
        elif grows:
            found.strings.append(text)
        if self._growing:
            self._touched[key] = found


def _named(path: Path) -> str:
    """Spell a place for an error, which repeats no key of a caller's."""
    return spelt(path, NAMES)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InputError(f"the JSON nests deeper than {MAX_DEPTH} levels")


def _is_type(value: str, place: Place) -> bool:
    """Recognise the values of `type` that an API or JSON Schema defines."""
    if place in ("part", "turn"):
        return value in TYPES or value in MEDIA
    return place in ("definition", "media") and (
        value in TYPES or value in SCHEMA_WORDS or value in MEDIA
    )


def _is_well_formed(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
