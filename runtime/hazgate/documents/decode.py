"""Strict decoding of plain data (JSON, TOML) into frozen dataclasses.

Unlike a constructor call it reports *every* problem of a document, each with its path, and it
never drops a key that it does not know: a misspelt threshold must not become a default.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")

_MISSING = object()
_KEY = "key"
_ABSENT = "absent"


def spelt(key: str) -> Mapping[str, str]:
    """Return metadata for a dataclass field whose key in documents differs from its name.

    >>> @dataclasses.dataclass
    ... class Cascade:
    ...     level1: str = dataclasses.field(metadata=spelt("gate"))
    """
    return {_KEY: key}


def absent_if_none() -> Mapping[str, bool]:
    """Return metadata for a dataclass field that documents leave out while it is None.

    A field that is added later then changes no document that does not use it.
    """
    return {_ABSENT: True}


def decode(kind: type[T], data: object, problems: list[str], path: str = "$") -> T | None:
    """Return the value of type `kind` that `data` represents, or None if it has problems.

    Supported types: dataclasses, str, bool, int, float, None, Literal, tuple[X, ...],
    Mapping[str, X] and unions of None with one of these.

    Args:
        kind: the type to build.
        data: what a JSON or TOML parser returned.
        problems: receives one line for each thing that is wrong, with its path.
        path: the place of `data` in its document.
    """
    before = len(problems)
    value = _decode(kind, data, problems, path)
    return None if len(problems) > before else typing.cast(T, value)


def encode(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return the plain data that `decode` turns back into `value`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = ((f, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {_key(f): encode(item) for f, item in items if not _is_absent(f, item)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    return value


def _decode(kind: Any, data: object, problems: list[str], path: str) -> object:  # noqa: ANN401
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(typing.cast(type, kind), data, problems, path)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _decode(inner, data, problems, path)
    if origin is Literal:
        if data not in arguments:
            problems.append(f"{path}: expected one of {list(arguments)}, got {_show(data)}")
        return data
    if origin is tuple:
        if not isinstance(data, list):
            return _wrong(problems, path, "an array", data)
        return tuple(
            _decode(arguments[0], item, problems, f"{path}[{i}]") for i, item in enumerate(data)
        )
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(data, Mapping):
            return _wrong(problems, path, "a table", data)
        return {
            key: _decode(arguments[1], item, problems, f"{path}.{key}")
            for key, item in data.items()
        }
    return _decode_scalar(kind, data, problems, path)


def _decode_dataclass(kind: type, data: object, problems: list[str], path: str) -> object:
    if not isinstance(data, Mapping):
        return _wrong(problems, path, "a table", data)
    hints = typing.get_type_hints(kind)
    fields = {_key(field): field for field in dataclasses.fields(kind)}
    problems.extend(f"{path}.{key}: unknown field" for key in data if key not in fields)
    values: dict[str, object] = {}
    complete = True
    for key, field in fields.items():
        item = data.get(key, _MISSING)
        if item is not _MISSING:
            values[field.name] = _decode(hints[field.name], item, problems, f"{path}.{key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{path}.{key}: missing")
            complete = False
    return kind(**values) if complete else None


def _is_absent(field: dataclasses.Field[Any], value: object) -> bool:
    return value is None and bool(field.metadata.get(_ABSENT))


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get(_KEY, field.name))


def _decode_scalar(kind: type, data: object, problems: list[str], path: str) -> object:
    names = {str: "a string", bool: "true or false", int: "an integer", float: "a number"}
    # bool is an int to Python, but not to the author of the document.
    is_number = isinstance(data, (int, float)) and not isinstance(data, bool)
    if kind is float and is_number:
        try:
            return float(typing.cast(float, data))
        except OverflowError:
            return _wrong(problems, path, "a number that a float can hold", data)
    if isinstance(data, kind) and (kind is not int or is_number):
        return data
    return _wrong(problems, path, names[kind], data)


def _wrong(problems: list[str], path: str, expected: str, data: object) -> object:
    problems.append(f"{path}: expected {expected}, got {_show(data)}")
    return _MISSING


def _show(data: object) -> str:
    try:
        text = repr(data)
    except RecursionError:
        text = f"a deeply nested {type(data).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
