"""The step from the logits of a text's tokens to its spans. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.judging.scores import softmax
from hazgate.judging.tags import Tags
from hazgate.judging.verdict import LabelledSpan, LevelResult

# The least score with which a type counts as found: over 0, which is that of a type without a span,
# and under that of any span, whose tokens have their type as the most probable.
FOUND = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class _Run:
    """Tokens of one span, from number `first` to before `end`, all of one type."""

    type: str
    first: int
    end: int


def find_spans(
    text: str,
    offsets: Sequence[tuple[int, int]],
    logits: NDArray[np.float32],
    tags: Tags,
) -> tuple[LabelledSpan, ...]:
    """Return the spans that the most probable tags of a text's tokens mark, in its order.

    A tag B- begins a span. I- goes on with a span of its type; after O, or after another type, it
    begins one. The score of a span is the mean, over its tokens, of the probability of its type:
    of B- and I- together.

    A span has no white space at its ends, whatever the offsets of its tokens have. It begins where
    the span before has ended at the earliest: several tokens can spell one character, which then
    belongs to the first span. A span without a character of its own is left out.

    Args:
        text: the text.
        offsets: characters of each token, the end not included.
        logits: shape [len(offsets), len(tags.tags)].
        tags: the meaning of the logits' columns.
    """
    if not len(offsets):
        return ()
    probabilities = softmax(logits)
    of_type = {
        name: probabilities[:, [tag.type == name for tag in tags.tags]].sum(axis=1)
        for name in tags.types
    }
    spans: list[LabelledSpan] = []
    end_before = 0
    for run in _runs(probabilities.argmax(axis=1), tags):
        start = max(offsets[run.first][0], end_before)
        part = text[start : max(end for _, end in offsets[run.first : run.end])]
        start += len(part) - len(part.lstrip())
        end = start + len(part.strip())
        if start < end:
            # A sum of probabilities can exceed one by a rounding.
            score = min(1.0, float(of_type[run.type][run.first : run.end].mean()))
            spans.append(LabelledSpan(label=run.type, start=start, end=end, score=score))
            end_before = end
    return tuple(spans)


def scores_of_types(spans: Sequence[LabelledSpan], types: Sequence[str]) -> dict[str, float]:
    """Return the greatest score of a span of each type; 0 for a type without a span."""
    scores = dict.fromkeys(types, 0.0)
    for span in spans:
        scores[span.label] = max(scores[span.label], span.score)
    return scores


def result_of_spans(
    spans: Sequence[LabelledSpan],
    types: Sequence[str],
    *,
    understood: bool,
    truncated: bool = False,
) -> LevelResult:
    """Return a token level's result beside a cascade: its labels are the types that were found.

    Args:
        spans: of the text.
        types: all types of the level.
        understood: False if the text is mostly unknown to the tokenizer, which flags it.
        truncated: True if the end of the text was not read.
    """
    scores: Mapping[str, float] = scores_of_types(spans, types)
    found = sorted((name for name in types if scores[name] > 0), key=lambda name: -scores[name])
    return LevelResult(
        labels=tuple(found),
        scores=scores,
        flagged=bool(found) or not understood,
        thresholds=dict.fromkeys(types, FOUND),
        spans=tuple(spans),
        whole=understood and not truncated,
    )


def _runs(chosen: NDArray[np.int64], tags: Tags) -> Iterator[_Run]:
    """Yield the tokens of each span, from the number of each token's tag."""
    kind: str | None = None
    first = 0
    for i, number in enumerate(chosen.tolist()):
        tag = tags.tags[number]
        if kind is not None and (tag.begins or tag.type != kind):
            yield _Run(kind, first, i)
            kind = None
        if kind is None and tag.type is not None:
            kind, first = tag.type, i
    if kind is not None:
        yield _Run(kind, first, len(chosen))
