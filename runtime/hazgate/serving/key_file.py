"""Files of API keys: one key per line, or `keys.toml` with a name, tenants and limits for each."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hazgate.documents.decode import decode
from hazgate.documents.files import read_bytes
from hazgate.documents.problems import list_problems, wrong_version
from hazgate.documents.toml import parse_toml
from hazgate.errors import BundleError
from hazgate.serving.keys import ApiKey, read_api_keys

SCHEMA_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _KeyTable:
    sha256: str
    tenants: tuple[str, ...] | None = None
    max_tokens: int | None = None
    max_concurrent: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _KeyFile:
    schema_version: int
    keys: Mapping[str, _KeyTable]


def read_key_file(file: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a file: `keys.toml`, if its name ends so, else one key per line.

    Raises:
        BundleError: the file cannot be read, is wrong, or has no key; names all problems, and no
            key.
    """
    if file.suffix != ".toml":
        return tuple(ApiKey(digest=digest) for digest in read_api_keys(file))
    problems: list[str] = []
    data = parse_toml(read_bytes(file, error=BundleError), source=str(file), error=BundleError)
    found = decode(_KeyFile, data, problems)
    if found is not None:
        problems += _contradictions(found)
    if found is None or problems:
        raise BundleError(f"{file} is not a valid file of API keys:{list_problems(problems)}")
    return tuple(
        ApiKey(
            digest=bytes.fromhex(table.sha256),
            name=name,
            tenants=table.tenants,
            max_tokens=table.max_tokens,
            max_concurrent=table.max_concurrent,
        )
        for name, table in found.keys.items()
    )


def _contradictions(found: _KeyFile) -> Iterator[str]:
    yield from wrong_version(found.schema_version, SCHEMA_VERSION)
    if not found.keys:
        yield "$.keys: has no key; leave api_keys_file out to serve without keys"
    names: dict[str, str] = {}
    for name, table in found.keys.items():
        path = f"$.keys.{name}"
        if not _SHA256.fullmatch(table.sha256):
            yield f"{path}.sha256: expected 64 hexadecimal digits in lower case"
        elif table.sha256 in names:
            yield f"{path}.sha256: is also that of $.keys.{names[table.sha256]}"
        names.setdefault(table.sha256, name)
        if table.tenants == ():
            yield f"{path}.tenants: must not be empty; leave it out to allow every tenant"
        limits = {"max_tokens": table.max_tokens, "max_concurrent": table.max_concurrent}
        for limit, most in limits.items():
            if most is not None and most < 1:
                yield f"{path}.{limit}: must be at least 1, got {most}"
