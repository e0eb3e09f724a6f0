"""JSON that two parsers could read differently is refused."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.errors import InputError
from hazgate.serving.bodies.strict_json import MAX_DEPTH, parse, parse_lenient

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_one_strict_value_is_what_the_standard_library_reads(
    value: object, ascii_only: bool
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only)
    if "\\ud" not in body:
        assert parse(body.encode("utf-8", "surrogatepass")) == json.loads(body)


# Strings whose escapes a parser may take for others, keys that are equal only when decoded, and
# numbers at the edges of what parsers take.
TOKENS = (
    *(
        b'"a"',
        b'"\\u0061"',
        b'"A"',
        b'"\\""',
        b'"\\\\"',
        b'"\\\\\\""',
        b'"a:b,{}"',
        b'""',
        b'"\\/"',
    ),
    *(
        b'"\xc3\xa9"',
        b'"\\u00e9"',
        b'"\xed\xa0\x80"',
        b'"\\ud83d\\ude00"',
        b'"\\ud83d"',
        b'"\xff"',
        b'"\n"',
    ),
    *(b"0", b"-0", b"01", b"1.5", b"1.", b"1e5", b"-", b"1e999", b"NaN", b"-Infinity", b"9" * 25),
    *(
        b"9" * 4300,
        b"9" * 4301,
        b"true",
        b"null",
        b"nul",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\x0c",
        b" ",
        b"\n",
    ),
    *(b"{", b"}", b"[", b"]", b":", b",", b'"', b"[" * 99, b"]" * 99, b'{"a":1}', b'{"a":1,"a":2}'),
)


def _first_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("equal keys")
    return made


def _refuse(constant: str) -> float:
    raise ValueError(constant)


def _by_the_standard_library(data: bytes) -> tuple[bool, object]:
    """Parse with the standard library alone: taken or not, and the value."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_first_pairs, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False, None
    return True, value


def _check_like_the_standard_library(data: bytes) -> None:
    taken, value = _by_the_standard_library(data)
    try:
        parsed = parse(data)
    except InputError:
        assert not taken, data
        return
    assert taken, data
    # The spelling, because 1 == 1.0 == True.
    assert repr(parsed) == repr(value), data


def _mutated(data: bytes, seed: int) -> bytes:
    draw = random.Random(seed)
    for _ in range(draw.randrange(3)):
        at = draw.randrange(len(data) + 1)
        data = data[:at] + draw.choice(TOKENS) + data[at + draw.randrange(3) :]
    return data


_values = given(JSON, st.booleans(), st.integers(0, 2**32))
_tokens = given(st.lists(st.sampled_from(TOKENS), max_size=12).map(b"".join))


@_values
def test_a_value_is_taken_if_the_standard_library_takes_it(
    value: object, ascii_only: bool, seed: int
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    _check_like_the_standard_library(_mutated(data, seed))


@_tokens
def test_any_tokens_are_taken_if_the_standard_library_takes_them(data: bytes) -> None:
    _check_like_the_standard_library(data)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@_values
def test_ten_thousand_values_are_taken_if_the_standard_library_takes_them(
    value: object, ascii_only: bool, seed: int
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    _check_like_the_standard_library(_mutated(data, seed))


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None)
@_tokens
def test_ten_thousand_rows_of_tokens_are_taken_if_the_standard_library_takes_them(
    data: bytes,
) -> None:
    _check_like_the_standard_library(data)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\xef\xbb\xbf{}", "byte-order mark"),
        (b'{"a": 1} x', "exactly one JSON value"),
        (b'{"a": 1}{"a": 2}', "exactly one JSON value"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "same key twice"),
        ('{"a": "b"}'.encode("utf-16"), "not UTF-8"),
        ('{"a": "b"}'.encode("utf-16-be"), "exactly one JSON value"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[" * 200_000, "nests deeper"),
        (b'{"a":' * 50_000, "nests deeper"),
        (b"[" + b"9" * 5000 + b"]", "4,300 digits"),
        (b"'a'", "exactly one JSON value"),
        (b"", "exactly one JSON value"),
    ],
)
def test_what_parsers_read_differently_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(body)


def test_an_error_repeats_nothing_of_the_body() -> None:
    for body in (b'{"sesame": sesame}', b'{"sesame": 1, "sesame": 2}', b'"sesame'):
        with pytest.raises(InputError) as caught:
            parse(body)
        assert "sesame" not in str(caught.value)


def test_a_string_that_holds_an_object_is_parsed_with_all_of_its_equal_keys() -> None:
    assert parse_lenient(' {"a": "b"} ') == {"a": "b"}
    assert parse_lenient('{"a": "x", "a": "y"}') == [{"a": "x"}, {"a": "y"}]
    assert parse_lenient("[1]") == [1]


@pytest.mark.parametrize("text", ["", "a", '"a"', "{", "{a}", "[" * 5000 + "]" * 5000, "7"])
def test_a_string_that_holds_something_else_is_no_json(text: str) -> None:
    assert parse_lenient(text) is None


def test_the_limit_of_depth_is_stated() -> None:
    assert MAX_DEPTH == 100
