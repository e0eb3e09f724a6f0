"""Growing texts are judged by what a watch does with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import Gate
from hazgate_evaluation import streams
from hazgate_evaluation.streams import choose_streams, measure_streams, pieces_of
from tests.support.labelled import row, scores, truth


@given(st.text())
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(pieces_of(text)) == text


def test_only_long_texts_whose_label_is_known_are_chosen_half_of_each_class() -> None:
    labels = truth([True, False, None, True, False, True, True])
    long = scores([0.5] * 7, n_tokens=streams.MIN_TOKENS)
    long.n_tokens[5] = streams.MIN_TOKENS - 1
    unsafe, safe = choose_streams(labels, long, 100)
    assert unsafe.tolist() == [0, 3, 6]
    assert safe.tolist() == [1, 4]
    assert [len(part) for part in choose_streams(labels, long, 4)] == [2, 2]


def test_a_text_is_stopped_at_the_word_that_a_check_finds(spotting: Gate) -> None:
    stride = spotting.watch().stride_tokens
    words = ["good"] * 40
    words[20] = "morning"
    texts = [" ".join(words), " ".join(["good"] * 40), "morning " + " ".join(["good"] * 40)]
    rows = [row(i, text) for i, text in enumerate(texts)]
    n_told: list[int] = []
    found = measure_streams(
        spotting,
        rows,
        (np.array([0, 2]), np.array([1])),
        scores([0.9, 0.1, 0.9], n_tokens=40),
        2,
        n_told.append,
    )
    assert sum(n_told) == 3
    assert found.stride_tokens == stride
    first, later = found.unsafe.read_when_stopped
    assert first == pytest.approx(stride / 41, abs=0.05)
    # Twenty words on, checks are an eighth of the text apart.
    apart = max(stride, 20 // 8)
    assert later == pytest.approx((20 + apart) / 40, abs=apart / 40)
    assert found.unsafe.stopped is not None
    assert found.unsafe.stopped.value == 1
    assert found.unsafe.flagged_whole is not None
    assert found.unsafe.flagged_whole.value == 1
    assert found.safe.stopped is not None
    assert found.safe.stopped.value == 0
    assert found.safe.read_when_stopped == ()
    # Each check reads the trailing window: what one of 40 words costs at most.
    room = spotting.level1.tokenizer.window_tokens
    assert found.safe.tokens_read_per_token is not None
    assert 1 <= found.safe.tokens_read_per_token <= (room + stride) / stride


def test_a_class_without_long_texts_has_no_figures(spotting: Gate) -> None:
    nothing = np.zeros(0, dtype=np.int64)
    found = measure_streams(spotting, [], (nothing, nothing), scores([]), 1, lambda n: None)
    assert found.unsafe.n_texts == 0
    assert found.unsafe.stopped is None
    assert found.unsafe.tokens_read_per_token is None
