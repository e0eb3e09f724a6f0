"""The names of a token level's labels say what each tag marks, or are refused."""

import pytest

from hazgate.judging.tags import Tag, Tags, tag_problems

PII = ("O", "B-NAME", "I-NAME", "B-EMAIL", "I-EMAIL")


def test_tags_with_b_and_i_have_the_types_behind_them() -> None:
    tags = Tags.of(PII, None)
    assert tags.types == ("NAME", "EMAIL")
    assert tags.tags[0] == Tag(type=None)
    assert tags.tags[1] == Tag(type="NAME", begins=True)
    assert tags.tags[4] == Tag(type="EMAIL", begins=False)


def test_with_an_outside_label_every_other_label_is_a_type() -> None:
    tags = Tags.of(("supported", "hallucinated"), "supported")
    assert tags.types == ("hallucinated",)
    assert tags.tags == (Tag(type=None), Tag(type="hallucinated"))


def test_a_type_keeps_what_follows_the_first_dash() -> None:
    assert Tags.of(("O", "B-CREDIT-CARD"), None).types == ("CREDIT-CARD",)


@pytest.mark.parametrize(
    ("labels", "outside"),
    [
        (PII, None),
        (("B-NAME", "O", "I-NAME"), None),
        # A type may have one of its two tags alone.
        (("O", "B-ZIP", "I-NAME"), None),
        (("supported", "hallucinated"), "supported"),
        (("NAME", "O", "EMAIL"), "O"),
    ],
)
def test_these_labels_are_tags(labels: tuple[str, ...], outside: str | None) -> None:
    assert tag_problems(labels, outside) == []


WRONG = {
    "no O": (("B-NAME", "I-NAME"), None, "labels: expected the tag O once, got it 0 times"),
    "two O": (("O", "O", "B-NAME"), None, "labels: expected the tag O once, got it 2 times"),
    "unknown form": (
        ("O", "B-NAME", "E-NAME"),
        None,
        "labels: expected O, B-TYPE or I-TYPE, got 'E-NAME'; if they are types of spans, name the "
        'label of tokens outside every span: outside = "O"',
    ),
    "no type": (("O", "B-"), None, "labels: expected O, B-TYPE or I-TYPE, got 'B-'; "),
    "lower case": (("O", "b-NAME"), None, "labels: expected O, B-TYPE or I-TYPE, got 'b-NAME'; "),
    "many": (
        ("O", *(f"x{i}" for i in range(8))),
        None,
        "got 'x0', 'x1', 'x2', 'x3', 'x4' and 3 more; ",
    ),
    "unknown outside": (("a", "b"), "c", "outside: 'c' is not a label of the level"),
    "outside with tags": (
        PII,
        "O",
        "outside: the labels have B- and I- (B-NAME, I-NAME, B-EMAIL), whose tag outside every "
        "span is O; leave it out",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_labels_that_are_no_tags_are_named(name: str) -> None:
    labels, outside, expected = WRONG[name]
    assert any(expected in problem for problem in tag_problems(labels, outside))


def test_labels_of_no_form_get_the_cure() -> None:
    problems = tag_problems(("supported", "hallucinated"), None)
    assert len(problems) == 2
    assert problems[1].endswith('outside = "supported"')
