"""A strict reader of one JSON object: every field is asked for, or is a problem."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

_T = TypeVar("_T")


class Fields:
    """The fields of a JSON object, and the problems found while they are read.

    Every method marks its field as known. A field that is absent or null takes `default`; without
    a default that is a problem. After a problem the value returned is a placeholder.
    """

    def __init__(self, values: Mapping[str, object], problems: list[str], prefix: str = "") -> None:
        self._values = values
        self._problems = problems
        self._prefix = prefix
        self._known: set[str] = set()

    def has(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        self._known.add(name)
        return self._values.get(name) is not None

    def is_null(self, name: str) -> bool:
        """Tell whether the field is there, as null."""
        self._known.add(name)
        return name in self._values and self._values[name] is None

    def raw(self, name: str) -> object:
        """Return the field as it is; None if it is absent."""
        self._known.add(name)
        return self._values.get(name)

    def problem(self, name: str, text: str) -> None:
        """Note a problem with a field."""
        self._problems.append(f"{self._prefix}{name}: {text}")

    def integer(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """Read a whole number of at least `least`."""
        value = self.raw(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.problem(name, f"expected a whole number of at least {least}, got {_shown(value)}")
            return least
        return value

    def token_id(self, name: str, vocab_size: int) -> int | None:
        """Read the id of a token; None if the field is absent or null."""
        value = self.raw(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < vocab_size:
            self.problem(name, f"expected an id from 0 to {vocab_size - 1}, got {_shown(value)}")
            return None
        return value

    def number(
        self, name: str, default: float | None = None, *, least: float = 0.0, above: bool = True
    ) -> float:
        """Read a finite number above `least`, or of at least it if not `above`."""
        value = self.raw(name)
        if value is None and default is not None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool):
            inside = value > least or (value == least and not above)
            if inside and math.isfinite(value):
                return float(value)
        bound = f"above {least:g}" if above else f"of at least {least:g}"
        self.problem(name, f"expected a number {bound}, got {_shown(value)}")
        return least + 1

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Read true or false."""
        value = self.raw(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, bool):
            self.problem(name, f"expected true or false, got {_shown(value)}")
            return False
        return value

    def choice(self, name: str, allowed: Sequence[_T], default: _T | None = None) -> _T:
        """Read one of some values."""
        value = self.raw(name)
        if value is None and default is not None:
            return default
        for one in allowed:
            if value == one and type(value) is type(one):
                return one
        choices = ", ".join(map(_shown, allowed))
        self.problem(name, f"expected one of {choices}, got {_shown(value)}")
        return allowed[0]

    def words(self, name: str) -> tuple[str, ...]:
        """Read a list of words, or one string of words that `|` separates; absent is none."""
        value = self.raw(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return tuple(word.strip() for word in value.lower().split("|"))
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(value)
        self.problem(name, f"expected a list of words, got {_shown(value)}")
        return ()

    def table(self, name: str) -> "Fields | None":
        """Read an object inside this one; None if it is absent or null."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.problem(name, f"expected an object, got {_shown(value)}")
            return None
        return Fields(value, self._problems, f"{self._prefix}{name}.")

    def only(self, name: str, *wanted: object, reason: str) -> None:
        """Refuse the field unless it is absent, null or one of the values."""
        value = self.raw(name)
        if value is not None and not any(
            value == one and type(value) is type(one) for one in wanted
        ):
            values = " or ".join(map(_shown, wanted))
            self.problem(name, f"expected {values}, got {_shown(value)}; {reason}")

    def agree(self, name: str, value: object, other: str, second: object) -> None:
        """Note a problem if two spellings of one setting differ."""
        if value != second:
            self.problem(name, f"{_shown(value)} contradicts {other}: {_shown(second)}")

    def ignore(self, names: Collection[str]) -> dict[str, object]:
        """Mark fields as known and without effect; return those that are there."""
        self._known.update(names)
        return {name: self._values[name] for name in sorted(names) if name in self._values}

    def refuse_others(self, text: str) -> None:
        """Note a problem with every field that nothing asked for."""
        for name in self._values:
            if name not in self._known:
                self.problem(name, text)


def _shown(value: object) -> str:
    """Show a value in an error, at most 80 characters of it."""
    if value is None:
        return "none"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
