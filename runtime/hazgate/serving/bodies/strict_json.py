"""Strict JSON: documents that every parser reads alike, or an error.

Parsers differ in what they make of equal keys, of a byte-order mark, of other encodings and of
bytes behind the value. A guard and the server behind it must not read two different requests, so
such documents are refused. Source of the differences: RFC 8259, sections 4, 8.1 and 9.

What jiter takes with these options is read as jiter reads it, which is several times quicker. What
it does not take goes to the standard library, which decides, and says why. The tests hold the two
against each other.
"""

import json
from typing import Any

import jiter

from hazgate.errors import InputError

MAX_DEPTH = 100
_BOM = b"\xef\xbb\xbf"


def parse(data: bytes | str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse one JSON value that fills the whole of `data`.

    Raises:
        InputError: `data` is not UTF-8, not exactly one JSON value, holds an object with equal
            keys, a number of more than 4,300 digits, or nests deeper than the parser goes.
    """
    try:
        return parse_quickly(data if isinstance(data, bytes) else data.encode())
    except ValueError:
        return _parse_strictly(data)


def _parse_strictly(data: bytes | str) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(data, bytes):
        if data.startswith(_BOM):
            raise InputError("the body begins with a byte-order mark; send plain UTF-8")
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"the body is not UTF-8 at byte {error.start}; send UTF-8") from None
    try:
        return _STRICT.decode(data)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"the JSON nests deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"the body is not exactly one JSON value: {error.msg} at character {error.pos}"
        ) from None
    except ValueError:
        raise InputError("the JSON holds a number of more than 4,300 digits") from None


def parse_quickly(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON without equal keys, lone surrogates, NaN, or nesting beyond 200 levels.

    Raises:
        ValueError: `data` is something else; the message may repeat what it says.
    """
    return jiter.from_json(data, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)


def parse_lenient(text: str) -> Any | None:  # noqa: ANN401 - any JSON value
    """Parse a JSON object or array inside a string; None where the string is something else.

    Equal keys are kept, all of them, as a list of pairs: a model wrote them, and each is read.
    """
    stripped = text.strip()
    if not stripped or stripped[0] not in "{[" or stripped[-1] not in "}]":
        return None
    try:
        return parse_quickly(stripped.encode())
    except ValueError:
        pass
    try:
        return _LENIENT.decode(stripped)
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise InputError("a JSON object has the same key twice; parsers differ in which they take")
    return made


def _all_pairs(pairs: list[tuple[str, Any]]) -> object:
    made = dict(pairs)
    return made if len(made) == len(pairs) else [{key: value} for key, value in pairs]


def _refuse(constant: str) -> float:
    raise InputError(f"{constant} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
_LENIENT = json.JSONDecoder(object_pairs_hook=_all_pairs)
