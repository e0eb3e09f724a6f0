"""Checks of a policy's values, beyond their types.

They work on the TOML parser's result and skip values of a wrong type, so that wrong types and
wrong values are reported together.
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from hazgate.documents.problems import wrong_version
from hazgate.judging.speech import Role, UnreadKind

SCHEMA_VERSION = 1
# The entry of `hazards` for every hazard without its own.
DEFAULT = "default"
# A fitted temperature is near one; beyond these bounds the fit failed or a digit is missing.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0

_GATE = ("controversial", "unsafe")
_ROLES = get_args(Role)
_KINDS = get_args(UnreadKind)


def contradictions(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line, beginning with the path, for each value that is wrong.

    Args:
        data: a parsed policy file whose types are not yet checked.
    """
    version = data.get("schema_version")
    if type(version) is int:
        yield from wrong_version(version, SCHEMA_VERSION)
    if data.get("name") == "":
        yield "$.name: must not be empty: verdicts name their policy by it"
    hazards = data.get("hazards")
    if isinstance(hazards, Mapping):
        yield from _gaps_in_default(hazards)
    yield from _wrong_values("$", data)
    gate = _table(data.get("gate"))
    yield from _wrong_order("$.gate", gate, inherited={})
    roles = _table(data.get("roles"))
    yield from _wrong_roles("$", data, inherited=gate)
    yield from _wrong_unread("$", data)
    for tenant, section in _table(data.get("tenants")).items():
        path, own = f"$.tenants.{tenant}", _table(section)
        yield from _wrong_values(path, own)
        yield from _wrong_unread(path, own)
        own_gate = _table(own.get("gate"))
        if own_gate:
            yield from _wrong_order(f"{path}.gate", own_gate, inherited=gate)
        yield from _wrong_roles(path, own, inherited={**gate, **own_gate}, below=roles)
    for path, section, ancestors in _sections(data):
        yield from _wrong_levels(f"{path}.levels", section, ancestors)


def _wrong_roles(
    path: str,
    section: Mapping[str, Any],
    *,
    inherited: Mapping[str, Any],
    below: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Yield what is wrong in the roles of a section, and in what they make of inherited gates.

    Args:
        path: the section's.
        section: a tenant's tables, or the policy's own.
        inherited: the gate of the section, merged.
        below: for a tenant, the roles of the policy; its own gate overrides theirs.
    """
    roles = _table(section.get("roles"))
    for role, rules in roles.items():
        where = f"{path}.roles.{role}"
        if role not in _ROLES:
            yield f"{where}: no such role; the roles are {', '.join(_ROLES)}"
        yield from _wrong_values(where, _table(rules))
    for role in {**(below or {}), **roles}:
        low = _table(_table((below or {}).get(role)).get("gate"))
        own = _table(_table(roles.get(role)).get("gate"))
        merged = {**inherited, **low, **_table(section.get("gate")), **own}
        if own or (low and section.get("gate")):
            yield from _wrong_order(f"{path}.roles.{role}.gate", merged, inherited={})


def _sections(
    data: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], tuple[Mapping[str, Any], ...]]]:
    """Yield the path and tables of each section, and those of the sections below it."""
    yield "$", data, ()
    roles = _table(data.get("roles"))
    for role, rules in roles.items():
        yield f"$.roles.{role}", _table(rules), (data,)
    for tenant, section in _table(data.get("tenants")).items():
        path, own = f"$.tenants.{tenant}", _table(section)
        yield path, own, (data,)
        for role, rules in _table(own.get("roles")).items():
            yield f"{path}.roles.{role}", _table(rules), (data, _table(roles.get(role)), own)


def _wrong_levels(
    path: str, section: Mapping[str, Any], ancestors: tuple[Mapping[str, Any], ...]
) -> Iterator[str]:
    """Yield what is wrong in a section's levels, and those that have no action from anywhere."""
    inherited = {
        level
        for ancestor in ancestors
        for level, rule in _table(ancestor.get("levels")).items()
        if "action" in _table(rule)
    }
    for level, rule in _table(section.get("levels")).items():
        where = f"{path}.{level}"
        if isinstance(rule, Mapping) and "action" not in rule and level not in inherited:
            yield f"{where}.action: missing"
        for at, value in _numbers(where, rule, ("threshold",)):
            # At 0 every text would reach it.
            if not 0 < value <= 1:
                yield f"{at}: expected a number above 0 and up to 1, got {value}"
        own = _table(_table(rule).get("thresholds"))
        for at, value in _numbers(f"{where}.thresholds", own, tuple(own)):
            if not 0 < value <= 1:
                yield f"{at}: expected a number above 0 and up to 1, got {value}"
        labels = _table(rule).get("labels")
        if labels == []:
            yield f"{where}.labels: must name a label; leave it out for the bundle's own"
        if isinstance(labels, list):
            names = [label for label in labels if isinstance(label, str)]
            twice = sorted({label for label in names if names.count(label) > 1})
            if twice:
                yield f"{where}.labels: names {', '.join(map(repr, twice))} twice"


def _wrong_unread(path: str, section: Mapping[str, Any]) -> Iterator[str]:
    for kind in _table(section.get("unread")):
        if kind not in (DEFAULT, *_KINDS):
            kinds = ", ".join((DEFAULT, *_KINDS))
            yield f"{path}.unread.{kind}: no such kind; the kinds are {kinds}"


def _gaps_in_default(hazards: Mapping[str, Any]) -> Iterator[str]:
    path = f"$.hazards.{DEFAULT}"
    if DEFAULT not in hazards:
        yield f"{path}: missing"
    elif isinstance(hazards[DEFAULT], Mapping):
        missing = [name for name in ("action", "threshold") if name not in hazards[DEFAULT]]
        yield from (f"{path}.{name}: missing" for name in missing)


def _wrong_values(path: str, section: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong in one tenant's tables, or in the policy's own."""
    temperature = section.get("temperature")
    for where, value in _numbers(f"{path}.temperature", temperature, ("gate", "hazards")):
        if not MIN_TEMPERATURE <= value <= MAX_TEMPERATURE:
            bounds = f"between {MIN_TEMPERATURE:g} and {MAX_TEMPERATURE:g}"
            yield f"{where}: expected a number {bounds}, got {value}"
    for where, value in _numbers(f"{path}.gate", section.get("gate"), _GATE):
        if not 0 < value < 1:
            yield f"{where}: expected a number above 0 and below 1, got {value}"
    for hazard, rule in _table(section.get("hazards")).items():
        yield from _wrong_rule(f"{path}.hazards.{hazard}", rule, is_default=hazard == DEFAULT)


def _wrong_rule(path: str, rule: object, *, is_default: bool) -> Iterator[str]:
    for where, value in _numbers(path, rule, ("threshold",)):
        if not 0 <= value <= 1:
            yield f"{where}: expected a number between 0 and 1, got {value}"
    for where, value in _numbers(path, rule, ("always",)):
        # At 0 it would block every text; an operator who means "never" leaves it out.
        if not 0 < value <= 1:
            yield f"{where}: expected a number above 0 and up to 1, got {value}"
    if is_default and "always" in _table(rule):
        yield f"{path}.always: is for named hazards; give it to each that blocks by itself"


def _wrong_order(
    path: str, own: Mapping[str, Any], *, inherited: Mapping[str, Any]
) -> Iterator[str]:
    merged = dict(_numbers(path, {**inherited, **own}, _GATE))
    low, high = (merged.get(f"{path}.{name}") for name in _GATE)
    if low is not None and high is not None and low > high:
        taken = [f"{name} is $.gate.{name}" for name in _GATE if name not in own]
        origin = f" ({taken[0]})" if taken else ""
        yield f"{path}: controversial {low} must not exceed unsafe {high}{origin}"


def _numbers(path: str, table: object, names: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    """Yield path and value of each named field that is a number within a float's range."""
    for name in names:
        value = _table(table).get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                yield f"{path}.{name}", float(value)
            except OverflowError:
                continue


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
