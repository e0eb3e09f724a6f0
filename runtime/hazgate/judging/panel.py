"""The step from the logits of levels beside the cascade to results and actions. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hazgate.judging.classification import LabelHead, labels_that_hold, scores_of_windows
from hazgate.judging.decision import Action, LevelRule, Rules
from hazgate.judging.scores import check_probabilities
from hazgate.judging.verdict import LabelledSpan, LevelResult


def level_result(
    head: LabelHead,
    logits: NDArray[np.float32],
    n_tokens: Sequence[int],
    positive_threshold: float | None,
    *,
    understood: bool = True,
) -> LevelResult:
    """Return a level's result on a text; scores over windows are as in `scores_of_windows`.

    Args:
        head: the meaning of the logits.
        logits: shape [windows, labels], of the level's own columns.
        n_tokens: the text's own tokens in each window, one count per window.
        positive_threshold: probability from which the head's positive label holds, in (0, 1);
            None if it has no positive label.
        understood: False if the text is mostly unknown to the tokenizer.

    Raises:
        RuntimeError: the head has a positive label without a threshold, or the reverse.
    """
    thresholds = _thresholds(head, positive_threshold)
    scores = scores_of_windows(head, logits, n_tokens)
    found = any(scores[label] >= limit for label, limit in thresholds.items())
    flagged = (found or not understood) if thresholds else None
    return LevelResult(
        labels=labels_that_hold(head, scores, flagged=bool(flagged)),
        scores=scores,
        flagged=flagged,
        thresholds=thresholds,
    )


def decide_levels(rules: Rules, results: Mapping[str, LevelResult]) -> dict[str, Action]:
    """Return the action that each level beside the cascade asks for, in the order of the rules.

    A level asks for nothing, and is left out, if none of its rule's labels reaches its threshold.
    Scores alone decide: `LevelResult.flagged` of a text that was not understood does not count, for
    which the policy states an action of its own. A level that may have missed spans, because it did
    not read or understand the whole text, asks for "block" in place of "mask".

    Args:
        rules: one tenant's rules.
        results: the result of every level in `rules.levels`; others do not count.

    Raises:
        InferenceError: a score is not a number in [0, 1].
        RuntimeError: the caller left out a level, or a label, that the rules depend on.
    """
    missing = rules.levels.keys() - results.keys()
    if missing:
        raise RuntimeError(
            f"no result of {', '.join(sorted(missing))}, which the rules name: "
            "ask every text for the levels in policy.level_names"
        )
    asked: dict[str, Action] = {}
    for level, rule in rules.levels.items():
        scores = results[level].scores
        check_probabilities({f"{level}.{label}": score for label, score in scores.items()})
        limits = _limits(level, rule, results[level])
        if any(scores[label] >= limit for label, limit in limits.items()):
            maskable = results[level].spans is not None and results[level].whole
            asked[level] = "block" if rule.action == "mask" and not maskable else rule.action
    return asked


def spans_to_mask(
    rules: Rules, results: Mapping[str, LevelResult], levels: Sequence[str]
) -> tuple[LabelledSpan, ...]:
    """Return the spans that the rules of some levels mask, in the order of the text.

    Those are the spans of the labels that count, each of which reaches the threshold by itself.

    Args:
        rules: one tenant's rules.
        results: the result of every one of the levels.
        levels: names of levels that ask for "mask".
    """
    spans: list[LabelledSpan] = []
    for level in levels:
        limits = _limits(level, rules.levels[level], results[level])
        spans += [
            span
            for span in results[level].spans or ()
            if span.label in limits and span.score >= limits[span.label]
        ]
    return tuple(sorted(spans, key=lambda span: (span.start, span.end)))


def _thresholds(head: LabelHead, positive_threshold: float | None) -> dict[str, float]:
    """Return the threshold of each label that the level looks for."""
    if (head.positive is None) != (positive_threshold is None):
        raise RuntimeError(
            f"expected a threshold with a positive label, got {positive_threshold} with "
            f"{head.positive}: take both from Classifier.positive"
        )
    if head.positive is not None and positive_threshold is not None:
        return {head.positive: positive_threshold}
    stated = dict(zip(head.labels, head.thresholds, strict=True))
    return {label: stated[label] for label in head.looked_for}


def _limits(level: str, rule: LevelRule, result: LevelResult) -> dict[str, float]:
    """Return the probability from which each label that counts asks for the rule's action."""
    labels = rule.labels or tuple(result.thresholds)
    stated = result.thresholds if rule.threshold is None else dict.fromkeys(labels, rule.threshold)
    stated = {**stated, **rule.thresholds}
    lacking = [label for label in labels if label not in stated or label not in result.scores]
    if lacking or not labels:
        raise RuntimeError(
            f"no score or threshold of {', '.join(lacking) or 'any label'} of level {level}: "
            "call policy.check_levels with the levels' heads when they are opened"
        )
    return {label: stated[label] for label in labels}
