"""JSON that two parsers could read differently is refused."""

import json

import pytest
from hypothesis import given
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
