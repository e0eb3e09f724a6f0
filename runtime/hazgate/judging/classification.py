"""The step from the logits of a text's windows to the labels of one level. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazgate.judging.scores import Activation, calibrated
from hazgate.judging.verdict import Language, ModelIdentity, TokenCount, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelHead:
    """The meaning of one level's logits.

    `positive` is the label that flags a text, None if the level looks for none; `thresholds` has
    the probability from which each label of a multi-label head holds. `finds_spans` is True of a
    token level, whose labels are types of spans.
    """

    labels: tuple[str, ...]
    activation: Activation
    positive: str | None
    thresholds: tuple[float, ...]
    finds_spans: bool = False

    @property
    def looked_for(self) -> tuple[str, ...]:
        """The labels that flag a text if they hold.

        The positive label alone; without one, every label of a multi-label head and none of a
        softmax head.
        """
        if self.positive is not None:
            return (self.positive,)
        return self.labels if self.activation == "sigmoid" else ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """One level's answer on one text.

    `scores` has the probability of each label, in the level's order. `labels` are those that hold,
    the most probable first: one of a softmax level; any number of a multi-label level, also none.
    Nothing here says that a text is safe: for that, a level must state its positive label, and
    `hazgate.Gate.of_level` gives verdicts. `understood` is False if most of the text is unknown to
    the tokenizer: then no score says anything, and of a softmax level the positive label holds.
    `language` is that of a verdict.
    """

    level: str
    labels: tuple[str, ...]
    scores: Mapping[str, float]
    tokens: TokenCount
    truncated: bool
    understood: bool
    model: ModelIdentity
    language: Language | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON values, in the order of the fields.

        `language` is left out if the text is not marked.
        """
        return {
            "level": self.level,
            "labels": list(self.labels),
            "scores": dict(self.scores),
            "tokens": self.tokens.to_dict(),
            "truncated": self.truncated,
            "understood": self.understood,
            **({} if self.language is None else {"language": self.language}),
            "model": self.model.to_dict(),
        }


def scores_of_windows(
    head: LabelHead, logits: NDArray[np.float32], n_tokens: Sequence[int]
) -> dict[str, float]:
    """Return the probability of each label over the windows of a text.

    Each label of a multi-label head has its greatest probability. A softmax head with a positive
    label has the probabilities of the window where that label is most probable; without one, their
    mean over the windows, weighted by tokens.

    Args:
        head: the meaning of the logits.
        logits: shape [windows, labels].
        n_tokens: the text's own tokens in each window, one count per window.
    """
    rows = calibrated(logits, 1.0, head.activation)
    if head.activation == "sigmoid":
        scores = rows.max(axis=0)
    elif head.positive is not None:
        scores = rows[rows[:, head.labels.index(head.positive)].argmax()]
    else:
        # An empty text has one window without any token of its own.
        weights = np.maximum(np.asarray(n_tokens, dtype=np.float64), 1.0)
        scores = weights @ rows / weights.sum()
    return dict(zip(head.labels, map(float, scores), strict=True))


def labels_that_hold(
    head: LabelHead, scores: Mapping[str, float], *, flagged: bool
) -> tuple[str, ...]:
    """Return the labels that hold, the most probable first.

    Args:
        head: the meaning of the scores.
        scores: probability of each label.
        flagged: True if the positive label of a softmax head holds; no other head reads it.
    """
    ranked = sorted(head.labels, key=lambda label: -scores[label])
    if head.activation == "sigmoid":
        limits = dict(zip(head.labels, head.thresholds, strict=True))
        return tuple(label for label in ranked if scores[label] >= limits[label])
    if head.positive is None:
        return (ranked[0],)
    if flagged:
        return (head.positive,)
    return (next(label for label in ranked if label != head.positive),)


def classification_of(verdict: Verdict, level: str, head: LabelHead) -> Classification:
    """Return the labels behind a verdict: those of its Level 1, which `head` describes."""
    return Classification(
        level=level,
        labels=labels_that_hold(head, verdict.scores, flagged=verdict.flagged),
        scores=verdict.scores,
        tokens=verdict.tokens,
        truncated=verdict.truncated,
        understood=verdict.understood,
        model=verdict.model,
        language=verdict.language,
    )
