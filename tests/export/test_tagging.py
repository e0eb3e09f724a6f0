"""Tags of tokens are made of marked spans, and the runtime makes the same spans of the tags."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.judging.tags import Tags
from hazgate.text.words import find_tagged_spans
from hazgate_export.finetune.measure_spans import measure_spans
from hazgate_export.finetune.rows import TrainingSpan
from hazgate_export.finetune.tagging import NO_TAG, tag_numbers
from hazgate_export.finetune.token_tasks import tag_weights
from tests.support.training import spans_row

LABELS = ("O", "B-name", "I-name", "B-email", "I-email")
TAGS = Tags.of(LABELS, None)


def marked(*spans: tuple[str, int, int]) -> list[TrainingSpan]:
    return [TrainingSpan(label=label, start=start, end=end) for label, start, end in spans]


def one_hot(numbers: list[int], n_labels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    logits = np.zeros((len(numbers), n_labels), np.float32)
    for row, number in enumerate(numbers):
        logits[row, number] = 9.0
    return logits


@st.composite
def tokenised(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[TrainingSpan]]:
    """A text, its tokens, some with white space between, and spans of whole tokens."""
    words = draw(st.lists(st.text("ab@.😀é", min_size=1, max_size=4), min_size=1, max_size=12))
    gaps = draw(
        st.lists(
            st.sampled_from(["", " ", "\r\n", "🎉 "]), min_size=len(words), max_size=len(words)
        )
    )
    text, offsets = "", []
    for word, gap in zip(words, gaps, strict=True):
        text += gap
        offsets.append((len(text), len(text) + len(word)))
        text += word
    spans, i = [], 0
    while i < len(offsets):
        n = draw(st.integers(0, 3))
        if n:
            last = min(i + n, len(offsets)) - 1
            label = draw(st.sampled_from(TAGS.types))
            spans.append(TrainingSpan(label=label, start=offsets[i][0], end=offsets[last][1]))
        i += max(n, 1)
    return text, offsets, spans


@given(tokenised())
def test_spans_become_tags_and_tags_the_same_spans(
    made: tuple[str, list[tuple[int, int]], list[TrainingSpan]],
) -> None:
    text, offsets, spans = made
    numbers = tag_numbers(text, offsets, spans, TAGS)
    found = find_tagged_spans(text, offsets, one_hot(numbers, len(LABELS)), TAGS, by_word=False)
    assert [(one.label, one.start, one.end) for one in found] == [
        (one.label, one.start, one.end) for one in spans
    ]


def test_the_first_token_of_a_span_begins_it_and_every_other_is_inside() -> None:
    # ada . bell , ada
    offsets = [(0, 3), (3, 4), (4, 8), (8, 9), (10, 13)]
    spans = marked(("name", 0, 8), ("name", 10, 13))
    assert tag_numbers("ada.bell, ada", offsets, spans, TAGS) == [1, 2, 2, 0, 1]


def test_spans_of_one_type_without_a_token_between_stay_two() -> None:
    spans = marked(("name", 0, 1), ("name", 1, 2))
    assert tag_numbers("ab", [(0, 1), (1, 2)], spans, TAGS) == [1, 1]


def test_a_token_that_is_partly_in_a_span_is_of_it_and_one_in_two_is_of_the_first() -> None:
    spans = marked(("name", 2, 4), ("email", 4, 8))
    assert tag_numbers("xxaabbbb", [(0, 3), (3, 6), (6, 8)], spans, TAGS) == [1, 2, 3]
    assert tag_numbers("xxaabbbb", [(0, 8)], spans, TAGS) == [1]


def test_types_of_spans_and_tags_without_a_beginning_are_numbered_as_the_runtime_reads_them() -> (
    None
):
    types = Tags.of(("none", "name"), "none")
    assert tag_numbers("a b c", [(0, 1), (2, 3), (4, 5)], marked(("name", 0, 3)), types) == [
        1,
        1,
        0,
    ]
    begins = Tags.of(("B-name", "O"), None)
    assert tag_numbers("a b c", [(0, 1), (2, 3), (4, 5)], marked(("name", 0, 3)), begins) == [
        0,
        0,
        1,
    ]


def test_of_words_the_first_token_alone_learns_a_tag() -> None:
    # Ada | Bel ##l, | here
    text = "Ada Bell, here"
    offsets = [(0, 3), (4, 7), (7, 8), (8, 9), (10, 14)]
    spans = marked(("name", 0, 8))
    numbers = tag_numbers(text, offsets, spans, TAGS, "words")
    assert numbers == [1, 2, NO_TAG, NO_TAG, 0]
    logits = one_hot([max(number, 0) for number in numbers], len(LABELS))
    (found,) = find_tagged_spans(text, offsets, logits, TAGS, by_word=True)
    assert text[found.start : found.end] == "Ada Bell,"


def test_rare_tags_weigh_more_by_the_balance_and_the_mean_over_tokens_stays_one() -> None:
    targets = [[0, 0, 0, 0, 0, 0, NO_TAG], [0, 0, 0, 1, 2, 2, NO_TAG]]
    assert tag_weights(targets, 3, 0.0) == [1.0, 1.0, 1.0]
    weights = tag_weights(targets, 4, 0.5)
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert weights[3] == weights[1]
    mean = math.fsum(weights[number] for row in targets for number in row if number >= 0) / 12
    assert mean == pytest.approx(1.0)


# Figures


def test_figures_count_equal_and_overlapping_spans_of_each_type_and_alarms_on_empty_rows() -> None:
    from hazgate.judging.verdict import LabelledSpan

    def span(label: str, start: int, end: int) -> LabelledSpan:
        return LabelledSpan(label=label, start=start, end=end, score=1.0)

    rows = [
        spans_row("Ada Bell and Bo", ("name", 0, 8), ("name", 13, 15)),
        spans_row("a@b.example", ("email", 0, 11)),
        spans_row("nothing here"),
        spans_row("nothing there"),
    ]
    found = [
        [span("name", 0, 3), span("name", 4, 8), span("name", 13, 15)],
        [span("name", 0, 11)],
        [],
        [span("email", 0, 7)],
    ]

    figures = measure_spans(rows, found, TAGS.types)

    name, email = figures.classes["name"], figures.classes["email"]
    assert (name.precision, name.recall, name.n_rows) == (1 / 4, 1 / 2, 2)
    assert (email.precision, email.recall, email.f1) == (0.0, 0.0, 0.0)
    overlapping = figures.overlapping["name"]
    assert (overlapping.precision, overlapping.recall) == (3 / 4, 1.0)
    assert figures.all_equal.precision == 1 / 5
    assert figures.all_overlapping.recall == 2 / 3
    assert figures.macro_f1 == pytest.approx(1 / 6)
    assert figures.accuracy == 0.25
    assert figures.none_flagged is not None
    assert (figures.none_flagged.share, figures.none_flagged.n_rows) == (0.5, 2)
