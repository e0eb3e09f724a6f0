"""Verdicts put together from a question's tokens and its judgements; pure."""

from collections.abc import Mapping, Sequence

from hazgate.judging.judgement import Judgement
from hazgate.judging.verdict import LevelResult, ModelIdentity, Span, Verdict, ViewsRead
from hazgate.questions import Question
from hazgate.text.tokenization import Tokens


def verdict_on(
    question: Question,
    judgements: Sequence[Judgement],
    levels: Mapping[str, LevelResult],
    *,
    labels: Sequence[str],
    model: ModelIdentity,
    decided_after: int | None = None,
) -> Verdict:
    """Return the verdict on a question.

    Args:
        question: the text as it was read.
        judgements: one by each of the question's terms; the first decides.
        levels: the results of levels beside the cascade, by name.
        labels: Level 1's labels, in the order of its scores.
        model: the identity of the model that answered.
        decided_after: as in `Verdict`.
    """
    tokens = question.tokens
    decides, *shadows = judgements
    worst = tokens.every_window[decides.worst_window]
    hazards = decides.hazards
    return Verdict(
        flagged=decides.flagged,
        unsafe=decides.unsafe,
        scores=dict(zip(labels, decides.scores, strict=True)),
        hazard=max(hazards, key=hazards.__getitem__) if hazards else None,
        hazards=hazards,
        detected=decides.detected,
        tokens=tokens.count,
        truncated=tokens.truncated,
        understood=tokens.understood,
        views=_views_read(tokens, decides),
        span=Span(start=worst.start, end=worst.end),
        decision=decides.decision,
        shadow=shadows[0].decision if shadows else None,
        levels=levels,
        decided_after=decided_after,
        model=model,
        language=question.language,
    )


def _views_read(tokens: Tokens, judgement: Judgement) -> ViewsRead | None:
    """Return what views there were; None without any."""
    if not tokens.views and not tokens.views_left_out:
        return None
    worst = tokens.every_window[judgement.worst_window].view
    names = [window.view.name for window in tokens.views if window.view is not None]
    return ViewsRead(
        decided=None if worst is None else worst.name,
        as_written=judgement.as_written,
        read=tuple(dict.fromkeys(names)),
        left_out=tokens.views_left_out,
    )
