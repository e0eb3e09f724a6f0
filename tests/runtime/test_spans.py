"""Tags of tokens become spans of characters: repaired, trimmed, scored, never overlapping."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate.judging.spans import FOUND, find_spans, result_of_spans, scores_of_types
from hazgate.judging.tags import Tags
from hazgate.judging.verdict import LabelledSpan

LABELS = ("O", "B-NAME", "I-NAME", "B-EMAIL", "I-EMAIL")
TAGS = Tags.of(LABELS, None)
IO = Tags.of(("supported", "unsupported"), "supported")


def _logits(*tags: str, labels: Sequence[str] = LABELS) -> np.ndarray:
    """Return logits in which each of these tags is the most probable one of its token."""
    logits = np.zeros((len(tags), len(labels)), dtype=np.float32)
    logits[range(len(tags)), [labels.index(tag) for tag in tags]] = 5.0
    return logits


def _words(text: str) -> list[tuple[int, int]]:
    """Return the offsets of words, each with the space before it, as SentencePiece has them."""
    offsets, start = [], 0
    for word in text.split(" "):
        end = start + len(word) + (start > 0)
        offsets.append((start, end))
        start = end
    return offsets


def _found(text: str, *tags: str) -> list[tuple[str, str]]:
    spans = find_spans(text, _words(text), _logits(*tags), TAGS)
    return [(span.label, text[span.start : span.end]) for span in spans]


def test_a_span_reaches_from_its_first_token_to_its_last() -> None:
    assert _found("my name is Ada Lovelace now", "O", "O", "O", "B-NAME", "I-NAME", "O") == [
        ("NAME", "Ada Lovelace")
    ]


def test_a_begin_ends_the_span_before_it() -> None:
    assert _found("Ada Grace", "B-NAME", "B-NAME") == [("NAME", "Ada"), ("NAME", "Grace")]


def test_an_inside_after_outside_begins_a_span() -> None:
    assert _found("by Ada Lovelace", "O", "I-NAME", "I-NAME") == [("NAME", "Ada Lovelace")]


def test_an_inside_after_another_type_begins_a_span() -> None:
    assert _found("Ada a@b.c", "B-NAME", "I-EMAIL") == [("NAME", "Ada"), ("EMAIL", "a@b.c")]


def test_a_span_may_end_with_the_text() -> None:
    assert _found("Ada", "B-NAME") == [("NAME", "Ada")]


def test_neighbours_of_one_type_without_begin_are_one_span() -> None:
    text = "one two three"
    logits = _logits("supported", "unsupported", "unsupported", labels=("supported", "unsupported"))
    (span,) = find_spans(text, _words(text), logits, IO)
    assert (span.label, text[span.start : span.end]) == ("unsupported", "two three")


def test_white_space_of_an_offset_is_no_part_of_a_span() -> None:
    text = "\r\n  Ada \r\n"
    (span,) = find_spans(text, [(0, len(text))], _logits("B-NAME"), TAGS)
    assert text[span.start : span.end] == "Ada"


def test_a_span_of_white_space_alone_is_left_out() -> None:
    assert find_spans("a \n", [(0, 1), (1, 3)], _logits("O", "B-NAME"), TAGS) == ()


def test_a_character_of_several_tokens_belongs_to_the_first_span() -> None:
    text = "\N{GRINNING FACE}x"
    offsets = [(0, 1), (0, 1), (0, 1), (1, 2)]
    spans = find_spans(text, offsets, _logits("O", "B-NAME", "B-EMAIL", "I-EMAIL"), TAGS)
    assert [(span.label, span.start, span.end) for span in spans] == [
        ("NAME", 0, 1),
        ("EMAIL", 1, 2),
    ]


def test_a_text_without_tokens_has_no_span() -> None:
    assert find_spans("", [], np.empty((0, 5), dtype=np.float32), TAGS) == ()


def test_the_score_is_the_mean_probability_of_the_type_over_the_tokens() -> None:
    # P(B-NAME) + P(I-NAME) is 0.5 + 0.25 of the first token, 0.25 + 0.5 of the second.
    shares = np.array([[1, 4, 2, 0.5, 0.5], [0.5, 2, 4, 0.75, 0.75]])
    (span,) = find_spans("a b", [(0, 1), (1, 3)], np.log(shares).astype(np.float32), TAGS)
    assert (span.start, span.end) == (0, 3)
    assert span.score == pytest.approx((6 / 8 + 6 / 8) / 2)


def test_a_type_has_the_greatest_score_of_its_spans() -> None:
    spans = [
        LabelledSpan(label="NAME", start=0, end=1, score=0.4),
        LabelledSpan(label="NAME", start=2, end=3, score=0.9),
    ]
    assert scores_of_types(spans, TAGS.types) == {"NAME": 0.9, "EMAIL": 0.0}


def test_the_types_that_were_found_hold_the_most_probable_first() -> None:
    spans = [
        LabelledSpan(label="NAME", start=0, end=1, score=0.4),
        LabelledSpan(label="EMAIL", start=2, end=3, score=0.9),
    ]
    result = result_of_spans(spans, TAGS.types, understood=True)
    assert result.labels == ("EMAIL", "NAME")
    assert result.flagged is True
    assert result.to_dict()["spans"][0] == {"label": "NAME", "start": 0, "end": 1, "score": 0.4}
    assert all(result.scores[name] >= limit for name, limit in result.thresholds.items())


def test_without_a_span_no_type_holds() -> None:
    result = result_of_spans([], TAGS.types, understood=True)
    assert (result.labels, result.flagged, result.spans) == ((), False, ())
    assert all(result.scores[name] < limit for name, limit in result.thresholds.items())


def test_a_text_that_was_not_understood_is_flagged() -> None:
    assert result_of_spans([], TAGS.types, understood=False).flagged is True


# Emoji with joiners and flags, combining marks, right to left, line ends, other planes.
PIECES = ("a", " ", "\r\n", "e\u0301", "\N{GRINNING FACE}", "\U0001f469\u200d\U0001f4bb",
          "\U0001f1e9\U0001f1ea", "\u05e9\u05b8", "\u0645\u064b", "\u202e", "\U00020000", "\t",
          "\u2003", "-")  # fmt: skip


@given(st.data())
def test_spans_are_in_order_disjoint_not_empty_and_within_the_text(data: st.DataObject) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=12)))
    ends = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    # As tokenizers give them: in order, perhaps empty, perhaps several in one character.
    offsets = [(max(0, end - data.draw(st.integers(0, 3))), end) for end in ends]
    values = st.floats(-9, 9, width=32)
    logits = np.array(
        [[data.draw(values) for _ in LABELS] for _ in offsets], dtype=np.float32
    ).reshape(len(offsets), len(LABELS))
    spans = find_spans(text, offsets, logits, TAGS)
    end_before = 0
    for span in spans:
        assert end_before <= span.start < span.end <= len(text)
        assert text[span.start : span.end] == text[span.start : span.end].strip()
        assert FOUND <= span.score <= 1
        end_before = span.end


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=12))
def test_every_token_with_a_tag_is_in_a_span_of_its_type_and_no_other_is(tags: list[str]) -> None:
    text = " ".join("x" * len(tags))
    spans = find_spans(text, _words(text), _logits(*tags), TAGS)
    marked = {i: span.label for span in spans for i in range(span.start, span.end)}
    for i, tag in enumerate(tags):
        assert marked.get(2 * i) == (None if tag == "O" else tag[2:])
