"""String fields of the requests and responses that SDKs define in types, each with a path.

A path's elements are keys, `[]` for the first item of a list, `*` for any key, and mappings of the
members that stand beside the next key, such as `{"type": "text"}`.
"""

import collections.abc
import json
import types
import typing
from collections import deque
from collections.abc import Iterator, Mapping
from gzip import decompress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pydantic
import typing_extensions as te

Element = str | Mapping[str, str]
FieldPath = tuple[Element, ...]
_WRAPPERS = (te.Required, te.NotRequired, typing.Annotated)
_LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)
_DISCRIMINATORS = ("type", "role", "object")
_MAX_DEPTH = 14


def fields_of_type(root: object) -> Iterator[FieldPath]:
    """Yield the strings of a TypedDict or a pydantic model, each type once below each key."""
    seen: set[object] = set()
    queue: deque[tuple[Any, FieldPath]] = deque([(root, ())])
    while queue:
        kind, path = queue.popleft()
        kind = _unwrapped(kind)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind in (str, bytes):
            yield path
        elif origin in (typing.Union, types.UnionType):
            queue.extend((each, path) for each in arguments)
        elif origin in _LISTS:
            queue.append((arguments[0], (*path, "[]")))
        elif origin in (dict, collections.abc.Mapping):
            queue.append((arguments[1], (*path, "*")))
        elif (members := _members(kind)) and len(path) < _MAX_DEPTH:
            keys = [each for each in path if isinstance(each, str) and each != "[]"]
            if (kind, *keys[-1:]) in seen:
                continue
            seen.add((kind, *keys[-1:]))
            beside = _beside(members)
            for key, below in members.items():
                others = {name: word for name, word in beside.items() if name != key}
                queue.append((below, (*path, *([others] if others else []), key)))


def fields_of_botocore(service: str, operation: str, side: str) -> Iterator[FieldPath]:
    """Yield the strings of an operation of AWS; `side` is "input" or "output"."""
    spec = find_spec("botocore")
    assert spec is not None
    assert spec.origin is not None
    versions = sorted((Path(spec.origin).parent / "data" / service).iterdir())
    model = json.loads(decompress((versions[-1] / "service-2.json.gz").read_bytes()))
    shapes = model["shapes"]
    seen: set[object] = set()
    queue: deque[tuple[str, FieldPath]] = deque()
    queue.append((model["operations"][operation][side]["shape"], ()))
    while queue:
        name, path = queue.popleft()
        shape = shapes[name]
        kind = shape["type"]
        if kind in ("string", "blob") and "enum" not in shape:
            yield path
        elif kind == "list":
            queue.append((shape["member"]["shape"], (*path, "[]")))
        elif kind == "map":
            queue.append((shape["value"]["shape"], (*path, "*")))
        elif kind == "structure" and (name, *path[-1:]) not in seen and len(path) < _MAX_DEPTH:
            seen.add((name, *path[-1:]))
            for key, member in shape["members"].items():
                if "location" not in member:
                    queue.append((member["shape"], (*path, member.get("locationName", key))))


def with_value(path: FieldPath, value: object) -> object:
    """Return the body that has a value at a path, and what the path needs."""
    if not path:
        return value
    first, inner = path[0], with_value(path[1:], value)
    if first == "[]":
        return [inner]
    if isinstance(first, str):
        return {"some_name" if first == "*" else first: inner}
    return {**first, **inner} if isinstance(inner, dict) else inner


def _unwrapped(kind: Any) -> Any:  # noqa: ANN401 - any type
    while True:
        if typing.get_origin(kind) in _WRAPPERS:
            kind = typing.get_args(kind)[0]
        elif isinstance(kind, te.TypeAliasType):
            kind = kind.__value__
        else:
            return kind


def _members(kind: Any) -> Mapping[str, Any]:  # noqa: ANN401 - any type
    if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        return {
            field.serialization_alias or field.alias or name: field.annotation
            for name, field in kind.model_fields.items()
        }
    if not te.is_typeddict(kind):
        return {}
    hints = te.get_type_hints(kind, include_extras=True)
    return {_wire_name(name, hint): hint for name, hint in hints.items()}


def _wire_name(name: str, hint: Any) -> str:  # noqa: ANN401 - any type
    while typing.get_origin(hint) in (te.Required, te.NotRequired):
        hint = typing.get_args(hint)[0]
    aliases = [getattr(each, "alias", None) for each in getattr(hint, "__metadata__", ())]
    return next(filter(None, aliases), name)


def _beside(members: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the words that say which of several types an object is of."""
    words: dict[str, str] = {}
    for key in _DISCRIMINATORS:
        kind = _unwrapped(members.get(key))
        if typing.get_origin(kind) in (Literal, te.Literal):
            words[key] = str(typing.get_args(kind)[0])
    return words
