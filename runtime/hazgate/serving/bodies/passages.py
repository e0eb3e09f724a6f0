"""Passages: the texts of a body, with their places, their speakers, and the parts left unread."""

import re
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hazgate.judging.speech import Role, UnreadKind

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")

# A place in a JSON document, linked from its end to its beginning: (place of the parent, key).
Path = tuple[Any, ...]


# A text, or strings that are one text; the place of the first, and who says it.
Said = tuple[str | list[str], Path, Role]


class Passage(NamedTuple):
    """One text that is judged by itself, its first string's place, and who speaks.

    A `pair` is an answer that is judged once more, beside its question. A tuple, because a body has
    thousands, and a frozen dataclass takes five times as long to make.
    """

    text: str
    place: Path
    role: Role
    pair: bool = False

    @property
    def path(self) -> str:
        """The place as a JSON path, e.g. `$.messages[2].content`."""
        return spelt(self.place)


@dataclass(frozen=True, kw_only=True, slots=True)
class Unread:
    """A part of a body that was not read, and its place."""

    kind: UnreadKind
    place: Path

    @property
    def path(self) -> str:
        """The place as a JSON path, e.g. `$.messages[0].content[1]`."""
        return spelt(self.place)


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyText:
    """Everything a body says: the passages to judge, and the parts that nobody read."""

    passages: tuple[Passage, ...] = ()
    unread: tuple[Unread, ...] = ()


def distinct(texts: Sequence[Said]) -> tuple[Passage, ...]:
    """Make passages of the texts that are not empty; of equal ones of one role, the last.

    What is said again stands where it was said last: it may be the newest turn.
    """
    seen: defaultdict[Role, set[str]] = defaultdict(set)
    made: list[Passage] = []
    for said, path, role in reversed(texts):
        text = said if type(said) is str else "\n".join(said)
        of_role = seen[role]
        if text not in of_role:
            of_role.add(text)
            if text and not text.isspace():
                # Twice as fast as a call of the class.
                made.append(tuple.__new__(Passage, (text, path, role, False)))
    made.reverse()
    return tuple(made)


def spelt(path: Path, names: Container[str] | None = None) -> str:
    """Spell a place as a JSON path.

    Args:
        path: the place.
        names: keys that may be spelt, for errors, which repeat nothing of a caller's; None allows
            every plain name. Any other key is spelt `*`.
    """
    parts: list[str] = []
    while path:
        path, name = path
        if isinstance(name, int):
            parts.append(f"[{name}]")
        else:
            known = _PLAIN.fullmatch(name) if names is None else name in names
            parts.append(f".{name}" if known else ".*")
    return "$" + "".join(reversed(parts))
