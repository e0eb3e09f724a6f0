"""JSON and JSON Lines are read strictly, and every bad line is named."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.documents.jsonl import (
    LineError,
    checked_rows,
    is_unicode,
    parse_json,
    parse_lines,
    parse_object,
    parse_value,
    stream_rows,
    string_field,
)
from hazgate.errors import BundleError, InputError

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, width=32) | st.text()
)
VALUES = st.recursive(
    SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
BAD = [
    (b"\xff", "not_utf8", "not UTF-8"),
    (b"{", "not_json", "not JSON"),
    (b"{} {}", "not_json", "not JSON"),
    (b'{"a": NaN}', "not_json", "not JSON"),
    (b'{"a": -Infinity}', "not_json", "not JSON"),
    (b"[" * 100_000, "not_json", "not JSON"),
    (b'{"a": 1, "a": 1}', "not_json", "a field is given twice"),
    (b'{"b": {"a": 1, "a": 2}}', "not_json", "a field is given twice"),
    (b"[1]", "wrong_type", "expected an object, got list"),
    (b"null", "wrong_type", "expected an object, got NoneType"),
]


def _text(_number: int, line: bytes) -> str:
    return string_field(parse_object(line), "text")


@given(VALUES)
def test_a_line_of_json_is_read_as_it_was_written(value: object) -> None:
    assert parse_value(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value).encode(), source="it", error=InputError) == value


@pytest.mark.parametrize(("line", "fault", "message"), BAD)
def test_a_bad_line_is_sorted_and_never_quoted(line: bytes, fault: str, message: str) -> None:
    with pytest.raises(LineError) as caught:
        parse_object(line)
    assert (caught.value.fault, str(caught.value)) == (fault, message)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, "missing"),
        ({"text": None}, "missing"),
        ({"text": 1}, "wrong_type"),
        ({"text": "\ud800"}, "not_utf8"),
    ],
)
def test_a_text_must_be_a_string_of_valid_unicode(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(LineError) as caught:
        string_field(fields, "text")
    assert caught.value.fault == fault


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_text_that_utf_8_can_spell_is_unicode(text: str) -> None:
    assert is_unicode(text)
    assert not is_unicode(text + "\udfff")


@given(st.lists(st.text(alphabet=" \t\r") | st.integers(), max_size=20))
def test_blank_lines_are_skipped_but_counted(lines: list[str | int]) -> None:
    written = "\n".join(str(line) for line in lines).encode()
    read = list(parse_lines(io.BytesIO(written), lambda _, line: parse_value(line)))
    assert read == [(i, line) for i, line in enumerate(lines, 1) if isinstance(line, int)]


def test_a_byte_order_mark_is_skipped() -> None:
    lines = [b'\xef\xbb\xbf{"text": "a"}\n', b"\xef\xbb\xbf\n", b'{"text": "b"}']
    assert list(stream_rows(lines, _text, source="it")) == ["a", "b"]


def test_a_stream_gives_rows_before_its_end_and_stops_at_a_bad_line() -> None:
    def lines() -> Iterator[bytes]:
        yield b'{"text": "a"}\n'
        yield b"secret\n"
        raise AssertionError("read on after a bad line")

    rows = stream_rows(lines(), _text, source="standard input")
    assert next(rows) == "a"
    with pytest.raises(InputError, match=r"^standard input, line 2: not JSON$"):
        next(rows)


def test_a_file_names_every_bad_line_once_it_was_read(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_bytes(b'{"text": "a"}\n\nsecret\n{"text": "b"}\n{"text": 1}')
    rows = checked_rows(file, _text, error=BundleError)
    assert [next(rows), next(rows)] == ["a", "b"]
    with pytest.raises(BundleError) as caught:
        next(rows)
    assert str(caught.value) == (
        f"{file}: 2 bad lines\n"
        "  - line 3: not JSON\n"
        "  - line 5: expected a string field text, got int"
    )


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent cannot be read: No such file"):
        list(checked_rows(tmp_path / "absent", _text))


@pytest.mark.parametrize(("document", "fault", "_message"), BAD[:-2])
def test_a_bad_document_is_refused_with_its_name(
    document: bytes, fault: str, _message: str
) -> None:
    with pytest.raises(BundleError, match=r"^bundle\.json is not a JSON document: "):
        parse_json(document, source="bundle.json", error=BundleError)
