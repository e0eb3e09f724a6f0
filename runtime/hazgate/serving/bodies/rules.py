"""Rules of the walk: what becomes of the values below each key, worked out once from the table.

A context says what holds for the values at some place; with a speaker it gives a rule for each
key. There are as many of both as the table has combinations, whatever bodies come.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import get_args

from hazgate.judging.speech import Role, UnreadKind, role_named
from hazgate.serving.bodies.fields import Field, Form, Place
from hazgate.serving.bodies.table import KEYS, MEDIA, SCHEMA_WORDS, TYPES, fields_at

_FIELDS: Mapping[Place, Mapping[str, Field]] = {
    place: fields_at(place) for place in get_args(Place)
}
# Objects and strings of a list stand apart at these places; elsewhere they belong together.
_APART = ("turn", "definition", "call", "event")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRule:
    """Rules for the values of one key: what is no text, and how those that are text are read.

    `form` recognises strings that are no text, and `unread` is the kind of a part that is none.
    `text` is the context of a string, and `below` that of objects and lists. Strings of a key that
    `keeps` the group of its object belong to that group; those of any other key stand by
    themselves. A string of a `plain` key is a text whatever it holds; `says` is who says it if it
    stands by itself.
    """

    form: Form | None
    unread: UnreadKind | None
    text: "Context"
    below: "Context"
    nested: bool
    keeps: bool
    plain: bool = field(init=False, compare=False)
    says: Role | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Derive what the walk asks for at most strings."""
        plain = not (self.nested or self.unread)
        object.__setattr__(self, "plain", plain)
        object.__setattr__(self, "says", self.text.role if plain and not self.keeps else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRules:
    """Rules for the keys of objects in one context, not a free one, and with one speaker.

    `unknown` is for keys that are in no list. The key itself is read in the context `names`; where
    the value is a string in `names_of_text`.
    """

    known: Mapping[str, KeyRule]
    unknown: KeyRule
    names: "Context"
    names_of_text: "Context"


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Rules for the values at some place: who speaks there, and what is no text.

    `default` speaks where a body does not say who does.
    """

    place: Place
    role: Role
    default: Role
    form: Form | None = None
    joined: bool = False
    nested: bool = False
    ids: bool = False
    # Derived from the others, for the walk, which asks for them at every value.
    is_free: bool = field(init=False, compare=False)
    is_turn: bool = field(init=False, compare=False)
    apart: bool = field(init=False, compare=False)
    has_speaker: bool = field(init=False, compare=False)
    # The strings of a group that are one text: those of one role, joined or short.
    together: object = field(init=False, compare=False)
    by_role: dict[Role, ObjectRules] = field(
        init=False, compare=False, repr=False, default_factory=dict
    )
    # By the value of `role` in a turn, and by that of `type`.
    by_name: dict[str, ObjectRules] = field(
        init=False, compare=False, repr=False, default_factory=dict
    )
    by_type: dict[object, ObjectRules] = field(
        init=False, compare=False, repr=False, default_factory=dict
    )

    # Of the JSON inside a string, of the values of an application's own object, and of strings in a
    # list where turns may stand: inputs, each a text of its own.
    inner: "Context" = field(init=False, compare=False, repr=False)
    loose: "Context" = field(init=False, compare=False, repr=False)
    inputs: "Context | None" = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Derive what the walk asks for."""
        place, joined = self.place, self.joined
        is_inner = not (joined or self.nested)
        inner = self if is_inner else replace(self, joined=False, nested=False)
        has_inputs = place == "turn" and not joined
        inputs = replace(self, place="free", joined=True, nested=False) if has_inputs else None
        derived = {
            "is_free": place == "free",
            "is_turn": place == "turn",
            "apart": place in _APART,
            "has_speaker": place in ("turn", "part"),
            "together": (self.role, "joined") if joined else self.role,
            "inner": inner,
            "loose": replace(inner, ids=False) if self.ids else inner,
            "inputs": inputs,
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def rules(self, role: Role) -> ObjectRules:
        """Return the rules for objects here in which this role speaks."""
        made = self.by_role.get(role)
        if made is None:
            made = self.by_role[role] = _rules(self, role)
        return made

    def rules_of_name(self, named: str) -> ObjectRules:
        """Return the rules for a turn whose `role` has this value."""
        role = role_named(named)
        made = self.rules(role)
        # Only the names that APIs give, of which there are few.
        if role != "unknown" and named == named.lower():
            self.by_name[named] = made
        return made

    def rules_of_type(self, kind: str | None) -> ObjectRules:
        """Return the rules for an object with this `type`, where no role is named."""
        said = TYPES.get(kind) if kind is not None else None
        made = self.rules(said or (self.default if self.role == "unknown" else self.role))
        if kind is None or kind in TYPES:
            self.by_type[kind] = made
        return made


@cache
def body_context(default: Role) -> Context:
    """Return the context of a body, in which nobody speaks as yet."""
    return Context(place="body", role="unknown", default=default)


@cache
def free_context(role: Role, default: Role, *, joined: bool = False) -> Context:
    """Return the context of an application's own values, said by a role."""
    return Context(place="free", role=role, default=default, joined=joined)


def _rules(context: Context, role: Role) -> ObjectRules:
    place, default = context.place, context.default
    role_of_text = default if place == "body" and role == "unknown" else role
    unknown = _unknown(context, role, role_of_text)
    known: dict[str, KeyRule] = dict.fromkeys(KEYS, unknown)
    known["type"] = replace(unknown, form=_type_or(unknown.form, place))
    known |= {key: _known(context, role, found) for key, found in _FIELDS[place].items()}
    return ObjectRules(
        known=known,
        unknown=unknown,
        names=free_context(role, default),
        names_of_text=free_context(role_of_text, default),
    )


def _unknown(context: Context, role: Role, role_of_text: Role) -> KeyRule:
    """Return the rule for keys that no API describes."""
    place, form = context.place, context.form
    if form is None and place == "definition":
        form = SCHEMA_WORDS.__contains__
    at: Place = place if place in ("free", "definition", "media") else "free"
    below = Context(place=at, role=role, default=context.default, form=form)
    return KeyRule(
        form=form,
        unread=None,
        text=replace(below, role=role_of_text),
        below=below,
        nested=False,
        keeps=place not in ("body", "turn", "event"),
    )


def _known(context: Context, role: Role, found: Field) -> KeyRule:
    """Return the rule for a key that an API describes."""
    speaker = found.role or role
    if speaker == "unknown":
        speaker = context.default
    text = Context(
        place=found.place or ("definition" if context.place == "definition" else "free"),
        role=speaker,
        default=context.default,
        form=found.form,
        joined=found.joined,
        nested=found.nested,
        ids=found.ids,
    )
    return KeyRule(
        form=found.form,
        unread=found.unread,
        text=text,
        below=replace(text, role="definition") if text.place == "definition" else text,
        nested=found.nested,
        # Parts of one turn's content are one text.
        keeps=context.place == "part" and context.joined and found.joined and not found.apart,
    )


def _type_or(form: Form | None, place: Place) -> Form | None:
    """Recognise the values of `type` that an API or JSON Schema defines, and those of a form."""
    if place in ("part", "turn"):
        known = frozenset((*TYPES, *MEDIA))
    elif place in ("definition", "media"):
        known = frozenset((*TYPES, *MEDIA, *SCHEMA_WORDS))
    else:
        return form
    if form is None:
        return known.__contains__
    return lambda value: value in known or form(value)
