"""Service times are read strictly, and every problem of a file is told at once."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.documents.decode import encode
from hazgate.errors import InputError
from hazgate_scale.capacity.times import ServiceTimes, packaged_models, parse_times
from tests.support.planning import times_document


def test_what_is_written_is_read_back() -> None:
    times = parse_times(json.dumps(times_document()).encode(), "times.json")
    assert parse_times(json.dumps(encode(times)).encode(), "again") == times


def test_the_times_of_both_models_come_with_the_package() -> None:
    assert packaged_models() == ["mini", "mlcommons-standin"]
    for name in packaged_models():
        assert ServiceTimes.of_model(name).model == name


def test_a_model_without_times_is_refused_by_naming_those_that_have_them() -> None:
    with pytest.raises(InputError, match=r"'nothing'.*mini, mlcommons-standin"):
        ServiceTimes.of_model("nothing")


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        ServiceTimes.load(tmp_path / "none.json")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"NaN", b'"' + b"[" * 9000 + b'"'])
def test_what_is_no_document_of_times_is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError, match=r"times\.json"):
        parse_times(data, "times.json")


def test_all_problems_of_a_file_are_told_at_once() -> None:
    document = times_document()
    document["unit"] = "rack"
    document["surprise"] = 1
    variant = document["variants"]["int8-fused"]
    variant["text_ms"] = "fast"
    del variant["cold_start_s"]
    with pytest.raises(InputError) as raised:
        parse_times(json.dumps(document).encode(), "times.json")
    for path in ("$.unit", "$.surprise", "int8-fused.text_ms", "int8-fused.cold_start_s"):
        assert path in str(raised.value)


def _set(document: dict[str, Any], path: str, value: object) -> None:
    *way, last = path.split(".")
    place: Any = document
    for key in way:
        place = place[int(key) if key.isdecimal() else key]
    place[last] = value


_V = "variants.int8-fused"
WRONG = {
    "another version": ("schema_version", 2),
    "no core": ("units_per_worker", 0),
    "no variant": ("variants", {}),
    "negative special tokens": ("windows.special_tokens", -1),
    "negative overlap": ("windows.overlap_tokens", -1),
    "a window without room": ("windows.window_tokens", 34),
    "a close window wider than a window": ("windows.close_tokens", 128),
    "one point": (f"{_V}.gate.points", [{"tokens": 8, "ms": 1.0}]),
    "no time": (f"{_V}.gate.points.0.ms", 0.0),
    "a time that is no number": (f"{_V}.hazards.points.2.ms", float("nan")),
    "an endless time": (f"{_V}.hazards.points.2.ms", float("inf")),
    "no tokens": (f"{_V}.gate.points.0.tokens", 0),
    "tokens out of order": (f"{_V}.gate.points.1.tokens", 8),
    "a longer row that is quicker": (f"{_V}.gate.points.2.ms", 4.0),
    "a spread upside down": (f"{_V}.spread.p95", 0.9),
    "a spread that is no number": (f"{_V}.spread.p99", float("nan")),
    "negative time beside": (f"{_V}.text_ms", -0.1),
    "no bundle": (f"{_V}.bundle_bytes", 0),
    "no start": (f"{_V}.cold_start_s", 0.0),
    "more unshared than resident": (f"{_V}.unshared_bytes", 160_000_001),
}


@pytest.mark.parametrize(("path", "value"), WRONG.values(), ids=WRONG.keys())
def test_contradictions_are_refused_by_their_path(path: str, value: object) -> None:
    # The message spells places of arrays as [2], and a spread is wrong as a whole.
    named = re.sub(r"\.(\d+)", r"[\1]", path).replace(".p95", "").replace(".p99", "")
    document = times_document()
    # Both levels of the document are one object.
    document = json.loads(json.dumps(document))
    _set(document, path, value)
    with pytest.raises(InputError) as raised:
        parse_times(json.dumps(document).encode(), "times.json")
    assert named in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_no_document_does_anything_but_parse_or_be_refused(document: object) -> None:
    with pytest.raises(InputError):
        parse_times(json.dumps(document).encode(), "times.json")
