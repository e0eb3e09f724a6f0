"""Walk a JSON value and collect every string of it, but for those that are known to be no text."""

from hazgate.errors import InputError
from hazgate.judging.speech import Role, Side, UnreadKind
from hazgate.serving.bodies.asides import Aside
from hazgate.serving.bodies.growth import GrowingTexts
from hazgate.serving.bodies.passages import BodyText, Path, Said, Unread, distinct, spelt
from hazgate.serving.bodies.rules import Context, KeyRule, body_context, free_context
from hazgate.serving.bodies.strict_json import MAX_DEPTH, parse_lenient
from hazgate.serving.bodies.table import MEDIA, NAMES

# Strings of an application's own objects that are longer than this, or have more words, are
# passages of their own: nothing drowns in them. The short ones of one object are read together.
_SHORT_CHARACTERS = 40
_SHORT_WORDS = 2

_ROOT: Path = ()
# The place of strings that belong together, and those found so far by `Context.together`.
_Group = tuple[Path, dict[object, list[str]]]


def read_value(value: object, side: Side) -> BodyText:
    """Read one JSON document.

    Args:
        value: what a strict parser returned.
        side: "request" or "response": who speaks where the body does not say.

    Raises:
        InputError: the value holds token ids, keys that are equal but for case, a lone
            surrogate, or nests deeper than 100 levels; the message has the path.
    """
    walk = Walk(side)
    walk.visit_root(value)
    return walk.result()


class Walk:
    """One walk over a body, or over the events of a stream."""

    def __init__(self, side: Side, growing: GrowingTexts | None = None) -> None:
        """Start with nothing read; with `growing` the strings of events go there."""
        self._default: Role = "user" if side == "request" else "assistant"
        self._growing = growing
        self._texts: list[Said] = []
        self._unread: dict[Path, UnreadKind] = {}
        self._checked_keys: set[tuple[str, ...]] = set()

    def visit_root(self, value: object) -> None:
        """Read a whole value, or some members of a body."""
        if self._growing is not None:
            self._growing.begin(value)
        if isinstance(value, str):
            said = free_context(self._default, self._default, joined=True)
            self._add(value, said, (_ROOT, {}), _ROOT)
        else:
            self.visit(value, body_context(self._default), None, _ROOT, 0)

    def add_aside(self, aside: Aside) -> None:
        """Read what stood beside the events of a stream."""
        if self._growing is not None:
            self._growing.begin({})
        path = ((_ROOT, "stream"), aside.place)
        self._add(f"{aside.text}\n", free_context(self._default, self._default), (path, {}), path)

    def array_of_body(self, key: str) -> "BodyArray | None":
        """Return the array below a key of the body, whose items can come some at a time.

        None for keys whose items do not stand apart, or that may hold something unread.
        """
        context = body_context(self._default)
        rule = context.rules(context.role).known.get(key)
        if rule is None or not rule.below.apart or rule.unread is not None:
            return None
        return BodyArray(self, rule.below, (_ROOT, key))

    def result(self) -> BodyText:
        """Return what was read of a document; strings that belong together are one passage."""
        return BodyText(passages=distinct(self._texts), unread=tuple(self.unread()))

    def unread(self) -> list[Unread]:
        """Return the parts that are no text."""
        return [Unread(kind=kind, place=path) for path, kind in self._unread.items()]

    def visit(
        self, value: object, context: Context, group: _Group | None, path: Path, depth: int
    ) -> None:
        """Read an object or a list, whose strings belong to `group`; None starts one there."""
        kind = type(value)
        if kind is dict:
            self._visit_object(value, context, group, path, depth + 1)  # type: ignore[arg-type]
        elif kind is list:
            self.visit_list(value, context, group, path, depth + 1)  # type: ignore[arg-type]

    def visit_list(
        self,
        items: list[object],
        context: Context,
        group: _Group | None,
        path: Path,
        depth: int,
        first: int = 0,
    ) -> None:
        """Read a list, whose first item has the index `first`."""
        if depth > MAX_DEPTH:
            raise _too_deep()
        if context.ids and items and all(type(item) is int for item in items):
            raise InputError(
                f"{_named(path)}: token ids cannot be read; send the text that they stand for"
            )
        apart = context.apart
        if group is None and not apart:
            group = (path, {})
        for i, item in enumerate(items, first):
            kind = type(item)
            if kind is dict:
                at = i
                if self._growing is not None and type(item.get("index")) is int:  # type: ignore[attr-defined]
                    at = item["index"]  # type: ignore[index]
                inside = None if apart else group
                self._visit_object(item, context, inside, (path, at), depth + 1)  # type: ignore[arg-type]
            elif kind is str:
                if context.inputs is not None:
                    below = (path, i)
                    self._add(item, context.inputs, (below, {}), below)  # type: ignore[arg-type]
                    continue
                if group is None:
                    group = (path, {})
                self._read_item(item, context, group, (path, i))  # type: ignore[arg-type]
            elif kind is list:
                inside = None if apart else group
                self.visit_list(item, context, inside, (path, i), depth + 1)  # type: ignore[arg-type]

    def _visit_object(
        self,
        data: dict[str, object],
        context: Context,
        group: _Group | None,
        path: Path,
        depth: int,
    ) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep()
        if context.is_free:
            self._visit_free(data, context, group or (path, {}), path, depth)
            return
        # The place that an unread part is listed with: a part of that type, or else its value.
        media: Path | None = None
        if context.has_speaker:
            kind = data.get("type")
            if type(kind) is not str:
                kind = None
            elif kind in MEDIA:
                media = path
                self._unread.setdefault(path, MEDIA[kind])
            named = data.get("role") if context.is_turn else None
            if type(named) is str:
                rules = context.by_name.get(named) or context.rules_of_name(named)
            else:
                rules = context.by_type.get(kind) or context.rules_of_type(kind)
        else:
            rules = context.by_role.get(context.role) or context.rules(context.role)
        known = rules.known
        # No two keys that the table knows are equal but for case: tests/gateway/bodies.
        is_checked = False
        is_document = self._growing is None
        for key, value in data.items():
            rule = known.get(key)
            of = type(value)
            inside: _Group | None = None
            if rule is None:
                if not is_checked:
                    self.check_keys(tuple(data), path)
                    is_checked = True
                rule = rules.unknown
                below = (path, key)
                if rule.keeps:
                    inside = group = group or (path, {})
                else:
                    inside = (below, {})
                names = rules.names_of_text if of is str else rules.names
                self._add(key, names, inside, (below, "*"))
                if of is str and rule.form is not None and rule.form(value):  # type: ignore[arg-type] # a string
                    continue
            elif of is str:
                form = rule.form
                if form is not None and form(value):  # type: ignore[arg-type] # a string
                    if rule.unread is not None:
                        self._unread.setdefault(media or (path, key), rule.unread)
                    continue
                if is_document and rule.says is not None:
                    # Most strings. `_read_string` would do the same.
                    if value:
                        below = (path, key)
                        if not value.isascii():  # type: ignore[attr-defined]
                            _check_surrogates(value, below)  # type: ignore[arg-type]
                        self._texts.append((value, below, rule.says))  # type: ignore[arg-type]
                    continue
            elif value is None:
                continue
            if rule.keeps and inside is None:
                inside = group = group or (path, {})
            if of is dict or of is list:
                # An empty list of images holds none, and a definition's object is a schema.
                if (
                    rule.unread is not None
                    and value
                    and not (of is dict and context.place == "definition")
                ):
                    self._unread.setdefault(media or (path, key), rule.unread)
                if of is dict:
                    self._visit_object(value, rule.below, inside, (path, key), depth + 1)  # type: ignore[arg-type]
                else:
                    self.visit_list(value, rule.below, inside, (path, key), depth + 1)  # type: ignore[arg-type]
            elif of is str:
                below = (path, key)
                if rule.plain:
                    self._add(value, rule.text, inside or (below, {}), below)  # type: ignore[arg-type]
                else:
                    self._read_string(value, rule, inside, below, media)  # type: ignore[arg-type]

    def _visit_free(
        self, data: dict[str, object], context: Context, group: _Group, path: Path, depth: int
    ) -> None:
        """Read an application's own object, whose keys are texts, too."""
        said, form = context.inner, context.form
        together = group[1].get(said.together)
        for key, value in data.items():
            below = (path, key)
            if together is not None and len(key) <= _SHORT_CHARACTERS and key.isidentifier():
                # Most keys. `_add` would do the same.
                together.append(key)
            else:
                self._add(key, said, group, (below, "*"))
                together = group[1].get(said.together)
            of = type(value)
            if of is str:
                if form is None or not form(value):  # type: ignore[arg-type] # a string
                    self._add(value, said, group, below)  # type: ignore[arg-type]
            elif of is dict or of is list:
                self.visit(value, context.loose, group, below, depth)

    def check_keys(self, keys: tuple[str, ...], path: Path) -> None:
        """Refuse keys that are equal but for case; objects of one body share few sets of keys."""
        if keys in self._checked_keys:
            return
        if len({key.casefold() for key in keys}) != len(keys):
            raise InputError(
                f"{_named(path)}: two keys are equal but for case; parsers differ in which they "
                "take"
            )
        self._checked_keys.add(keys)

    def _read_string(
        self, text: str, rule: KeyRule, group: _Group | None, path: Path, media: Path | None
    ) -> None:
        """Read a string that is not of the rule's form."""
        if rule.unread is not None and rule.form is None and text:
            self._unread.setdefault(media or path, rule.unread)
        if rule.nested and self._growing is None:
            inner = parse_lenient(text)
            if inner is not None:
                self.visit(inner, rule.text.inner, group, path, 1)
                return
        self._add(text, rule.text, group or (path, {}), path)

    def _read_item(self, text: str, context: Context, group: _Group, path: Path) -> None:
        """Read a string of a list."""
        if context.form is not None and context.form(text):
            return
        if context.nested and self._growing is None:
            inner = parse_lenient(text)
            if inner is not None:
                self.visit(inner, context.inner, group, path, 1)
                return
        self._add(text, context, group, path)

    def _add(self, text: str, context: Context, group: _Group, path: Path) -> None:
        """Add a string of a group as said in a context."""
        if not text:
            return
        if not text.isascii():
            _check_surrogates(text, path)
        place, strings = group
        if self._growing is not None:
            self._growing.add(
                text, context.role, path, place, joined=context.joined, nested=context.nested
            )
            return
        if context.joined:
            path = place
        elif len(text) > _SHORT_CHARACTERS or not (
            text.isidentifier() or len(text.split(None, _SHORT_WORDS)) <= _SHORT_WORDS
        ):
            self._texts.append((text, path, context.role))
            return
        together = strings.get(context.together)
        if together is None:
            together = strings[context.together] = [text]
            self._texts.append((together, path, context.role))
        else:
            together.append(text)


class BodyArray:
    """An array below a key of a body, whose items come some at a time."""

    def __init__(self, walk: Walk, context: Context, path: Path) -> None:
        """Start before the first item."""
        self._walk = walk
        self._context = context
        self._path = path
        self._group: _Group = (path, {})

    def visit(self, items: list[object], first: int) -> None:
        """Read the next items, which begin at index `first`."""
        self._walk.visit_list(items, self._context, self._group, self._path, 2, first)


def _named(path: Path) -> str:
    """Spell a place for an error, which repeats no key of a caller's."""
    return spelt(path, NAMES)


def _too_deep() -> InputError:
    return InputError(f"the JSON nests deeper than {MAX_DEPTH} levels")


def _check_surrogates(text: str, path: Path) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(
            f"{_named(path)}: the string holds a lone surrogate, which no text has"
        ) from None
