"""Data on the releases of an execution provider, which preflight's rules read."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hazgate.documents.toml import parse_toml
from hazgate_export.errors import RecipeError

_TABLES = {"migraphx": "migraphx.toml"}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sourced(_Table):
    source: str


class _Operators(_Sourced):
    group: str
    names: tuple[str, ...] = Field(min_length=1)


class _Release(_Table):
    names: tuple[str, ...] = Field(min_length=1)
    groups: tuple[str, ...] = Field(min_length=1)
    bfloat16: bool = False
    zero_points: bool = False
    limited: bool = True
    migraphx: str | None = None


class _Limit(_Sourced):
    refused_nodes: int


class _Names(_Sourced):
    names: tuple[str, ...] = Field(min_length=1)


class _Arguments(_Sourced):
    inputs: Mapping[str, tuple[int, ...]]


class _Opsets(_Sourced):
    first: int
    last: int


class _Versions(_Sourced):
    versions: Mapping[str, str]


class ProviderTable(_Table):
    """The data file of one execution provider; each table in it names its source."""

    schema_version: Literal[1]
    provider: str
    sources: Mapping[str, str]
    operators: tuple[_Operators, ...]
    releases: tuple[_Release, ...]
    limit: _Limit
    types: _Names
    arguments: _Arguments
    opsets: _Opsets
    no_parser: _Names
    parser_since: _Versions

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> "ProviderTable":
        parts: tuple[_Sourced, ...] = (
            *self.operators,
            self.limit,
            self.types,
            self.arguments,
            self.opsets,
            self.no_parser,
            self.parser_since,
        )
        groups = {group.group for group in self.operators}
        lost = {part.source for part in parts} - set(self.sources)
        lost |= {name for release in self.releases for name in release.groups} - groups
        if lost:
            raise ValueError(f"neither sources nor groups have {sorted(lost)}")
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderRelease:
    """One release of an execution provider, and the nodes it takes.

    Attributes:
        name: as it was asked for, e.g. "migraphx@1.23.2".
        provider: ONNX Runtime's name of the execution provider.
        operators: operators that it takes, whatever their domain.
        types: names of ONNX element types that a node may read and write.
        argument_inputs: for an operator, the inputs that constants and shapes must decide.
        zero_points: whether MatMulInteger may have more than its two factors.
        max_refused_nodes: with more refused nodes than these it takes none; None for no limit.
        first_opset: the oldest opset that the rules were read for.
        last_opset: the newest opset whose operators its parser tells apart.
        no_parser: operators that its compiler cannot read.
        parser_since: for an operator, the first release of the compiler that reads it.
        compiler: the compiler's release, None if the provider's release does not fix it.
    """

    name: str
    provider: str
    operators: frozenset[str]
    types: frozenset[str]
    argument_inputs: Mapping[str, tuple[int, ...]]
    zero_points: bool
    max_refused_nodes: int | None
    first_opset: int
    last_opset: int
    no_parser: frozenset[str]
    parser_since: Mapping[str, str]
    compiler: str | None


def find_target(name: str) -> ProviderRelease:
    """Find the release that `name` asks for, spelt PROVIDER@VERSION.

    A version is judged by the entry that it equals or extends: 1.23.2 by 1.23.

    Raises:
        RecipeError: no such provider, or no data on that version.
    """
    provider, _, version = name.partition("@")
    if provider not in _TABLES:
        raise RecipeError(f"preflight: {name!r} is not one of {', '.join(_TABLES)}, @, a version")
    table = load_table(provider)
    entries = {key: release for release in table.releases for key in release.names}
    known = [key for key in entries if re.fullmatch(re.escape(key) + r"(\.[0-9]+)*", version)]
    if not known:
        raise RecipeError(
            f"preflight: nothing is known of {provider} {version!r}, only of {', '.join(entries)}"
        )
    release = entries[max(known, key=len)]
    bfloat16 = {"BFLOAT16"} if release.bfloat16 else set()
    return ProviderRelease(
        name=name,
        provider=table.provider,
        operators=frozenset(
            operator
            for group in table.operators
            if group.group in release.groups
            for operator in group.names
        ),
        types=frozenset(table.types.names) | bfloat16,
        argument_inputs=table.arguments.inputs,
        zero_points=release.zero_points,
        max_refused_nodes=table.limit.refused_nodes if release.limited else None,
        first_opset=table.opsets.first,
        last_opset=table.opsets.last,
        no_parser=frozenset(table.no_parser.names),
        parser_since=table.parser_since.versions,
        compiler=release.migraphx,
    )


@functools.cache
def load_table(provider: str) -> ProviderTable:
    """Load the data of a provider, by the name that targets give it."""
    data = (files("hazgate_export.preflight") / _TABLES[provider]).read_bytes()
    tables = parse_toml(data, source=_TABLES[provider], error=RecipeError)
    return ProviderTable.model_validate(tables)
