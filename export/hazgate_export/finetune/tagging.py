"""Tags of a text's tokens from its marked spans: the way back of hazgate.judging.spans. Pure."""

from collections.abc import Mapping, Sequence

from hazgate.judging.tags import Tags
from hazgate.text.words import words_of
from hazgate_export.finetune.rows import TrainingSpan
from hazgate_export.finetune.tasks import Tagged

# The number in place of a tag of a token that learns none; torch's cross entropy passes over it.
NO_TAG = -100


def tag_numbers(
    text: str,
    offsets: Sequence[tuple[int, int]],
    spans: Sequence[TrainingSpan],
    tags: Tags,
    tagged: Tagged = "tokens",
) -> list[int]:
    """Return the number of each token's tag, or NO_TAG.

    A token is of the first span of which it has a character. The first token of a span has the tag
    B- of its type, the others I-; a type with one of the two alone has that one. With `tagged` of
    "words", the first token of a word has the tag of the word, and the others have none.

    Args:
        text: the text.
        offsets: characters of each token, the end not included.
        spans: in the text's order and apart, of types that the tags have.
        tags: the meaning of the numbers.
        tagged: the tokens that have a tag.
    """
    if tagged == "words":
        words = words_of(text, offsets)
        numbers = [NO_TAG] * len(offsets)
        of_words = tag_numbers(text, words.offsets, spans, tags)
        for token, number in zip(words.first, of_words, strict=True):
            numbers[token] = number
        return numbers
    begin, inside = _numbers(tags)
    outside = next(i for i, tag in enumerate(tags.tags) if tag.type is None)
    numbers = []
    last: TrainingSpan | None = None
    for start, end in offsets:
        span = next((one for one in spans if start < one.end and one.start < end), None)
        if span is None:
            numbers.append(outside)
        else:
            numbers.append((inside if span is last else begin)[span.label])
        last = span
    return numbers


def _numbers(tags: Tags) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return the number of the first tag of each type, and that of the tags behind it."""
    begin = {tag.type: i for i, tag in enumerate(tags.tags) if tag.type and tag.begins}
    inside = {tag.type: i for i, tag in enumerate(tags.tags) if tag.type and not tag.begins}
    return {**inside, **begin}, {**begin, **inside}
