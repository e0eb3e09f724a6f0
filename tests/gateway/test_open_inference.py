"""Tensors of the Open Inference Protocol."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import InputError
from hazgate.serving import open_inference as oip


def _raw(texts: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_raw_elements_come_back_as_they_were_put_in(texts: list[bytes]) -> None:
    assert oip.elements_of_raw(_raw(texts)) == texts


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.data())
def test_raw_contents_that_are_cut_off_are_an_error_or_end_between_two_elements(
    texts: list[bytes], data: st.DataObject
) -> None:
    raw = _raw(texts)
    cut = raw[: data.draw(st.integers(0, len(raw) - 1))]
    ends = [len(_raw(texts[:n])) for n in range(len(texts) + 1)]
    if len(cut) in ends:
        assert oip.elements_of_raw(cut) == texts[: ends.index(len(cut))]
    else:
        with pytest.raises(InputError):
            oip.elements_of_raw(cut)


@pytest.mark.parametrize("shape", [[3], [-1], [-1, -2], [2, 2], []])
def test_a_shape_that_the_elements_do_not_fill_is_an_error(shape: list[int]) -> None:
    with pytest.raises(InputError):
        oip.texts_of_elements(["a", "b"], shape)


def test_unknown_tensors_and_bytes_that_are_no_text_are_errors() -> None:
    with pytest.raises(InputError):
        oip.check_input([("text", "INT64")])
    with pytest.raises(InputError):
        oip.wanted_outputs(["unsafe", "label"])
    with pytest.raises(InputError):
        oip.texts_of_elements([b"\xff"], [1])
    assert oip.texts_of_elements([b"a", b"b"], [1, 2]) == ["a", "b"]
