"""Tensors of the Open Inference Protocol."""

import math
import struct
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import Gate, InputError
from hazgate.serving import open_inference as oip

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def _raw(texts: list[str]) -> bytes:
    elements = [text.encode() for text in texts]
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_raw_contents_hold_the_texts_they_were_made_of(texts: list[str]) -> None:
    assert oip.texts_of_raw(_raw(texts), [len(texts)]) == texts


@given(st.lists(TEXTS, min_size=1, max_size=8), st.data())
def test_raw_contents_that_are_cut_off_are_an_error(texts: list[str], data: st.DataObject) -> None:
    raw = _raw(texts)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    ends = [len(_raw(texts[:n])) for n in range(len(texts) + 1)]
    if not cut:
        expected = "does not hold 0 elements"
    elif len(cut) in ends:
        n_left = ends.index(len(cut))
        assert oip.texts_of_raw(cut, [n_left]) == texts[:n_left]
        expected = f"does not hold {n_left} elements"
    else:
        expected = "the raw contents end inside"
    with pytest.raises(InputError, match=expected):
        oip.texts_of_raw(cut, [len(texts)])


@pytest.mark.parametrize("shape", [[3], [-1], [-1, -2], [2, 2], []])
def test_a_shape_that_the_elements_do_not_fill_is_an_error(shape: list[int]) -> None:
    with pytest.raises(InputError, match="does not hold 2 elements"):
        oip.texts_of_elements(["a", "b"], shape)


@pytest.mark.parametrize("shape", [[9] * 900_000, [1] * 9, [2**62, 2**62], [2**62, 0], [1, 0]])
def test_a_shape_of_many_axes_or_large_numbers_costs_nothing(
    shape: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplied: list[int] = []

    def prod(numbers: Sequence[int]) -> int:
        multiplied.extend(numbers)
        return math.prod(numbers)

    # The product of 900,000 axes took a minute.
    monkeypatch.setattr(oip, "math", SimpleNamespace(prod=prod))
    with pytest.raises(InputError, match="axes does not hold 1 elements"):
        oip.texts_of_elements([b"good"], shape)
    assert len(multiplied) <= 8
    assert max(multiplied, default=0) <= 1


def test_unknown_tensors_and_bytes_that_are_not_utf8_are_errors(spotting: Gate) -> None:
    with pytest.raises(InputError, match="expected one input, text of datatype BYTES"):
        oip.check_input([("text", "INT64")])
    with pytest.raises(InputError, match="1 unknown outputs; there are unsafe, flagged"):
        oip.wanted_outputs(["unsafe", "label"], spotting)
    with pytest.raises(InputError, match="not UTF-8"):
        oip.texts_of_elements([b"\xff"], [1])
    assert oip.texts_of_elements([b"a", b"b"], [1, 2]) == ["a", "b"]


@pytest.mark.parametrize("element", [7, 0, None, True, ["good"]])
def test_an_element_that_is_no_string_is_an_error(element: object) -> None:
    with pytest.raises(InputError, match="1 of 2 elements of text are no strings"):
        oip.texts_of_elements([b"good", element], [2])


def test_nothing_to_judge_is_an_error() -> None:
    with pytest.raises(InputError, match="text holds no element"):
        oip.texts_of_elements([], [0])
    with pytest.raises(InputError, match="1 of 2 elements of text are empty"):
        oip.texts_of_elements([b"a", b""], [2])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"priority": 2}, "priority"),
        ({"sequence_id": 1, "sequence_start": True}, "sequence_id, sequence_start"),
        ({"classification": 1}, "classification"),
        ({"unheard_of": "x", "another": 1}, "2 unknown"),
        ({"timeout": -1}, "microseconds"),
        ({"timeout": True}, "microseconds"),
    ],
)
def test_parameters_are_refused_by_name(parameters: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        oip.timeout_of_parameters(parameters)
    assert "unheard_of" not in str(caught.value)


def test_a_requests_timeout_is_in_microseconds() -> None:
    assert oip.timeout_of_parameters({"timeout": 250_000, "priority": 0}) == 0.25
    assert math.isinf(oip.timeout_of_parameters({"timeout": 0}))
    assert math.isinf(oip.timeout_of_parameters({"binary_data_output": True}))


def test_a_tensor_has_the_parameters_of_the_binary_extension_only() -> None:
    oip.check_tensor_parameters("an output", {"binary_data": True, "binary_data_size": 4})
    with pytest.raises(InputError, match="does not have: classification, 1 unknown"):
        oip.check_tensor_parameters("an output", {"classification": 3, "other": 1})
