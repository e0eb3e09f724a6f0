"""A policy: rules that allow, flag or block a text by its scores, per hazard, level and tenant.

A policy is a TOML file, parsed strictly: all problems are reported at once, by field.
`runtime/POLICIES.md` is the normative description of the format.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from hazgate.documents.decode import decode, spelt
from hazgate.documents.files import read_bytes
from hazgate.documents.problems import list_problems, refuse_newer
from hazgate.documents.toml import parse_toml
from hazgate.errors import InputError, PolicyError
from hazgate.judging.classification import LabelHead
from hazgate.judging.decision import (
    Action,
    HazardRule,
    Level1Thresholds,
    LevelRule,
    Mode,
    Rules,
    Temperature,
    UnreadAction,
    strongest,
)
from hazgate.judging.policy_checks import DEFAULT, SCHEMA_VERSION, contradictions
from hazgate.judging.policy_fit import misfits
from hazgate.judging.speech import UNVOUCHED_LANGUAGE, Role, UnreadKind, threshold_for

T = TypeVar(
    "T", Level1Thresholds, HazardRule, LevelRule, Temperature, "_HazardTable", "_LevelTable"
)

# The base under a policy's default, whose own fields override all of it, as is checked.
_STRICTEST = HazardRule(action="block", threshold=0.0)
# The base under a level's rule, whose own action overrides it, as is checked.
_STRICTEST_LEVEL = LevelRule(action="block")


@dataclass(frozen=True, kw_only=True, slots=True)
class _TemperatureTable:
    level1: float | None = field(default=None, metadata=spelt("gate"))
    level2: float | None = field(default=None, metadata=spelt("hazards"))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level1Table:
    controversial: float | None = None
    unsafe: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _HazardTable:
    action: Action | None = None
    threshold: float | None = None
    always: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _LevelTable:
    action: Action | None = None
    threshold: float | None = None
    labels: tuple[str, ...] | None = None
    thresholds: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _RoleTable:
    """The differences of a role's rules from those that it inherits."""

    mode: Mode | None = None
    temperature: _TemperatureTable = field(default_factory=_TemperatureTable)
    level1: _Level1Table = field(default_factory=_Level1Table, metadata=spelt("gate"))
    hazards: Mapping[str, _HazardTable] | None = None
    levels: Mapping[str, _LevelTable] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _TenantTable(_RoleTable):
    """One tenant's differences from the policy's own rules."""

    roles: Mapping[str, _RoleTable] | None = None
    unread: Mapping[str, UnreadAction] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """The types of a whole file; hazgate.judging.policy_checks checks the values."""

    schema_version: int
    name: str
    mode: Mode
    level1: Level1Thresholds = field(metadata=spelt("gate"))
    hazards: Mapping[str, _HazardTable]
    temperature: Temperature = field(default_factory=Temperature)
    levels: Mapping[str, _LevelTable] | None = None
    roles: Mapping[str, _RoleTable] | None = None
    unread: Mapping[str, UnreadAction] | None = None
    tenants: Mapping[str, _TenantTable] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """One version of a deployment's rules.

    `digest` is the SHA-256 of the file's bytes. `base` applies if a request names no tenant;
    `tenants` has each tenant's rules, merged and checked. `roles` has the rules of each tenant
    (None: no tenant) for the roles that differ, and `unread` the action on each kind of part that
    is no text.
    """

    name: str
    digest: str
    base: Rules
    tenants: Mapping[str, Rules]
    roles: Mapping[tuple[str | None, Role], Rules]
    unread: Mapping[str | None, Mapping[UnreadKind, Action]]

    @classmethod
    def load(cls, path: str | Path) -> "Policy":
        """Read a policy from a TOML file.

        Raises:
            PolicyError: the file cannot be read, or is not a valid policy.
        """
        return cls.parse(read_bytes(path, error=PolicyError), source=str(path))

    @classmethod
    def parse(cls, text: bytes, *, source: str = "the policy") -> "Policy":
        """Return the policy that `text` contains.

        Args:
            text: the whole file.
            source: the file's name in errors.

        Raises:
            PolicyError: the text is not TOML in UTF-8, has another schema, or has wrong fields;
                names all of them.
        """
        data = parse_toml(text, source=source, error=PolicyError)
        cure = "write the policy for this version"
        refuse_newer(data, SCHEMA_VERSION, source=source, cure=cure, error=PolicyError)
        problems: list[str] = []
        data = _spelt_out(data)
        file = decode(_File, data, problems)
        problems.extend(contradictions(data))
        if file is None or problems:
            raise PolicyError(f"{source} is not a valid policy:{list_problems(problems)}")
        tenants = file.tenants or {}
        return cls(
            name=file.name,
            digest=hashlib.sha256(text).hexdigest(),
            base=_merge(file),
            tenants={name: _merge(file, tenant) for name, tenant in tenants.items()},
            roles=dict(_rules_by_role(file)),
            unread={
                None: _unread(file.unread),
                **{name: _unread(file.unread, own.unread) for name, own in tenants.items()},
            },
        )

    def rules(self, tenant: str | None = None, role: Role | None = None) -> Rules:
        """Return the rules for a tenant's texts of a role.

        Args:
            tenant: None asks for the policy's own rules.
            role: who speaks; None asks for the rules of no role.

        Raises:
            InputError: the policy does not name this tenant. There is no fallback to other rules:
                a misspelt name must not loosen anything.
        """
        rules = self.base if tenant is None else self._tenant(tenant)
        return rules if role is None else self.roles.get((tenant, role), rules)

    def unread_action(self, kinds: Collection[UnreadKind], tenant: str | None = None) -> Action:
        """Return the strongest action on parts of some kinds that nobody read.

        Raises:
            InputError: the policy does not name this tenant.
        """
        if tenant is not None:
            self._tenant(tenant)
        return strongest(self.unread[tenant][kind] for kind in kinds)

    def _tenant(self, tenant: str) -> Rules:
        if tenant not in self.tenants:
            # Neither the names of other customers nor the caller's own text.
            raise InputError(
                f"policy {self.name!r} has no such tenant; send one that its operator gave you"
            )
        return self.tenants[tenant]

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels beside the cascade that any of the rules needs, each once."""
        return tuple(dict.fromkeys(name for _, rules, _ in self._scopes() for name in rules.levels))

    def check_labels(self, labels: Iterable[str]) -> None:
        """Refuse a policy that names hazards which a bundle does not have.

        Args:
            labels: the labels of the bundle's Level 2.

        Raises:
            PolicyError: the bundle lacks some hazards; names them, and those that it has.
        """
        known = list(labels)
        problems = [
            f"{path}.hazards.{hazard}: no such hazard"
            for path, rules, parents in self._scopes()
            for hazard in rules.hazards
            if hazard not in known and not any(hazard in each.hazards for each in parents)
        ]
        if problems:
            raise PolicyError(
                f"policy {self.name!r} does not fit this bundle:{list_problems(problems)}\n"
                f"the bundle's hazards are {', '.join(known) or 'none: it has one level'}"
            )

    def check_levels(self, levels: Mapping[str, LabelHead]) -> None:
        """Refuse a policy whose rules for levels beside the cascade a bundle cannot follow.

        Args:
            levels: every level of the bundle beside its cascade, by name, opened or not.

        Raises:
            PolicyError: the bundle lacks a level or a label that the policy names, or does not say
                by which labels or thresholds a level flags a text, and neither does the policy; or
                the policy masks by a level that finds no spans. Names all of them, and the levels
                and labels that the bundle has.
        """
        problems = []
        for path, rules, parents in self._scopes():
            inherited = {one for each in parents for one in misfits(each, levels)}
            own = (one for one in misfits(rules, levels) if one not in inherited)
            problems += [f"{path}.levels.{one}" for one in own]
        if problems:
            there = [f"{name} ({', '.join(head.labels)})" for name, head in levels.items()]
            raise PolicyError(
                f"policy {self.name!r} does not fit this bundle:{list_problems(problems)}\n"
                f"the bundle's levels beside the cascade are {', '.join(there) or 'none'}"
            )

    def _scopes(self) -> Iterator[tuple[str, Rules, tuple[Rules, ...]]]:
        """Yield every set of rules with its place in the file and those that it inherits from."""
        yield "$", self.base, ()
        for tenant, rules in self.tenants.items():
            yield f"$.tenants.{tenant}", rules, (self.base,)
        for (of, role), rules in self.roles.items():
            if of is None:
                yield f"$.roles.{role}", rules, (self.base,)
            else:
                of_role = self.roles.get((None, role), self.base)
                parents = (self.base, self.tenants[of], of_role)
                yield f"$.tenants.{of}.roles.{role}", rules, parents


def _spelt_out(data: dict[str, Any]) -> dict[str, Any]:
    """Return a policy's data with `unread = "flag"` as the table that it is short for."""
    data = _with_unread_table(data)
    if isinstance(data.get("tenants"), Mapping):
        tenants = data["tenants"].items()
        own = {name: _with_unread_table(one) for name, one in tenants}
        data = {**data, "tenants": own}
    return data


def _with_unread_table(section: Any) -> Any:  # noqa: ANN401 - not yet checked
    if isinstance(section, Mapping) and isinstance(section.get("unread"), str):
        return {**section, "unread": {DEFAULT: section["unread"]}}
    return section


def _unread(*tables: Mapping[str, UnreadAction] | None) -> dict[UnreadKind, Action]:
    """Return the action on each kind of unread part; later tables win.

    A text in a language that nobody vouches for was read: only its own name is about it.
    """
    actions: dict[UnreadKind, Action] = dict.fromkeys(get_args(UnreadKind), "block")
    actions[UNVOUCHED_LANGUAGE] = "allow"
    for table in tables:
        own = dict(table or {})
        if DEFAULT in own:
            of_read = actions[UNVOUCHED_LANGUAGE]
            actions = dict.fromkeys(actions, own.pop(DEFAULT))
            actions[UNVOUCHED_LANGUAGE] = of_read
        actions.update({kind: own[kind] for kind in actions if kind in own})
    return actions


def _rules_by_role(file: _File) -> Iterator[tuple[tuple[str | None, Role], Rules]]:
    """Yield the rules of every tenant and role that differ from the tenant's own."""
    tenants: dict[str | None, _TenantTable] = {None: _TenantTable()}
    tenants.update(file.tenants or {})
    for name, tenant in tenants.items():
        for role in get_args(Role):
            tables = [(file.roles or {}).get(role), (tenant.roles or {}).get(role)]
            own = [table for table in tables if table is not None]
            if not own and role != "definition":
                continue
            below, above = (table or _RoleTable() for table in tables)
            rules = _merge(file, below, tenant, above)
            if not any(table.level1 != _Level1Table() for table in own):
                rules = replace(rules, level1=_thresholds_for(role, rules.level1))
            yield (name, role), rules


def _thresholds_for(role: Role, level1: Level1Thresholds) -> Level1Thresholds:
    return Level1Thresholds(
        controversial=threshold_for(role, level1.controversial),
        unsafe=threshold_for(role, level1.unsafe),
    )


def _merge(file: _File, *sections: _RoleTable) -> Rules:
    """Return the rules of `file`, overridden by the differences of each section in turn."""
    tables = dict(file.hazards)
    levels = dict(file.levels or {})
    mode, temperature, level1 = file.mode, file.temperature, file.level1
    for section in sections:
        for hazard, table in (section.hazards or {}).items():
            tables[hazard] = _overlay(tables.get(hazard, _HazardTable()), table)
        for level, own in (section.levels or {}).items():
            below = levels.get(level, _LevelTable())
            if own.threshold is not None:
                # It takes the place of what was stated label by label, too.
                below = replace(below, thresholds=None)
            levels[level] = _overlay(below, own)
        mode = section.mode or mode
        temperature = _overlay(temperature, section.temperature)
        level1 = _overlay(level1, section.level1)
    default = _overlay(_STRICTEST, tables.pop(DEFAULT))
    return Rules(
        mode=mode,
        temperature=temperature,
        level1=level1,
        default=default,
        hazards={hazard: _overlay(default, table) for hazard, table in tables.items()},
        levels={level: _overlay(_STRICTEST_LEVEL, table) for level, table in levels.items()},
    )


def _overlay(below: T, above: _TemperatureTable | _Level1Table | _HazardTable | _LevelTable) -> T:
    """Return `below`, overridden by the fields that `above` sets."""
    given = {each.name: getattr(above, each.name) for each in fields(above)}
    return replace(below, **{name: value for name, value in given.items() if value is not None})
