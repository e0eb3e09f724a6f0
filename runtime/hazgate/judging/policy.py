"""A policy: rules that allow, flag or block a text by its scores, per hazard and tenant.

A policy is a TOML file, parsed strictly: all problems are reported at once, by field.
`runtime/POLICIES.md` is the normative description of the format.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from hazgate.documents.decode import decode, spelt
from hazgate.documents.files import read_bytes
from hazgate.documents.problems import list_problems, refuse_newer
from hazgate.documents.toml import parse_toml
from hazgate.errors import InputError, PolicyError
from hazgate.judging.decision import Action, HazardRule, Level1Thresholds, Mode, Rules, Temperature
from hazgate.judging.policy_checks import DEFAULT, SCHEMA_VERSION, contradictions

T = TypeVar("T", Level1Thresholds, HazardRule, Temperature, "_HazardTable")

# The base under a policy's default, whose own fields override all of it, as is checked.
_STRICTEST = HazardRule(action="block", threshold=0.0)


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
class _TenantTable:
    """One tenant's differences from the policy's own rules."""

    mode: Mode | None = None
    temperature: _TemperatureTable = field(default_factory=_TemperatureTable)
    level1: _Level1Table = field(default_factory=_Level1Table, metadata=spelt("gate"))
    hazards: Mapping[str, _HazardTable] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """The types of a whole file; hazgate.judging.policy_checks checks the values."""

    schema_version: int
    name: str
    mode: Mode
    level1: Level1Thresholds = field(metadata=spelt("gate"))
    hazards: Mapping[str, _HazardTable]
    temperature: Temperature = field(default_factory=Temperature)
    tenants: Mapping[str, _TenantTable] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """One version of a deployment's rules.

    `digest` is the SHA-256 of the file's bytes. `base` applies if a request names no tenant;
    `tenants` has each tenant's rules, merged and checked.
    """

    name: str
    digest: str
    base: Rules
    tenants: Mapping[str, Rules]

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
        file = decode(_File, data, problems)
        problems.extend(contradictions(data))
        if file is None or problems:
            raise PolicyError(f"{source} is not a valid policy:{list_problems(problems)}")
        tenants = file.tenants or {}
        return cls(
            name=file.name,
            digest=hashlib.sha256(text).hexdigest(),
            base=_merge(file, _TenantTable()),
            tenants={name: _merge(file, tenant) for name, tenant in tenants.items()},
        )

    def rules(self, tenant: str | None = None) -> Rules:
        """Return the rules for a tenant; None asks for the policy's own rules.

        Raises:
            InputError: the policy does not name this tenant. There is no fallback to other rules:
                a misspelt name must not loosen anything.
        """
        if tenant is None:
            return self.base
        if tenant not in self.tenants:
            known = ", ".join(self.tenants) or "none"
            raise InputError(
                f"policy {self.name!r} has no tenant {tenant[:60]!r}; its tenants: {known}"
            )
        return self.tenants[tenant]

    def check_labels(self, labels: Iterable[str]) -> None:
        """Refuse a policy that names hazards which a bundle does not have.

        Args:
            labels: the labels of the bundle's Level 2.

        Raises:
            PolicyError: the bundle lacks some hazards; names them, and those that it has.
        """
        known = list(labels)
        named = [f"$.hazards.{hazard}" for hazard in self.base.hazards if hazard not in known]
        for tenant, rules in self.tenants.items():
            own = [hazard for hazard in rules.hazards if hazard not in self.base.hazards]
            named += [f"$.tenants.{tenant}.hazards.{name}" for name in own if name not in known]
        if named:
            listed = list_problems([f"{path}: no such hazard" for path in named])
            raise PolicyError(
                f"policy {self.name!r} does not fit this bundle:{listed}\n"
                f"the bundle's hazards are {', '.join(known)}"
            )


def _merge(file: _File, tenant: _TenantTable) -> Rules:
    """Return the rules of `file`, overridden by one tenant's differences."""
    tables = dict(file.hazards)
    for hazard, table in (tenant.hazards or {}).items():
        tables[hazard] = _overlay(tables.get(hazard, _HazardTable()), table)
    default = _overlay(_STRICTEST, tables.pop(DEFAULT))
    return Rules(
        mode=tenant.mode or file.mode,
        temperature=_overlay(file.temperature, tenant.temperature),
        level1=_overlay(file.level1, tenant.level1),
        default=default,
        hazards={hazard: _overlay(default, table) for hazard, table in tables.items()},
    )


def _overlay(below: T, above: _TemperatureTable | _Level1Table | _HazardTable) -> T:
    """Return `below`, overridden by the fields that `above` sets."""
    given = {each.name: getattr(above, each.name) for each in fields(above)}
    return replace(below, **{name: value for name, value in given.items() if value is not None})
