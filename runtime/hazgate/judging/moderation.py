"""A verdict in the words of OpenAI's moderation endpoint, for clients that speak only those."""

from collections.abc import Mapping
from typing import Any

from hazgate.errors import InputError
from hazgate.judging.taxonomy import load_taxonomy, translate


def moderation_result(
    *, flagged: bool, hazards: Mapping[str, float] | None, threshold: float
) -> dict[str, Any]:
    """One entry of `results` as https://platform.openai.com/docs/api-reference/moderations has it.

    A text that is not flagged has no category. A flagged one may have none either: its hazard is
    one that OpenAI does not name (privacy, misinformation, specialized advice), or no score
    reaches the threshold. A client that reads `flagged` is right in every case.

    Args:
        flagged: what the gate, or the policy, says of the text.
        hazards: score of each hazard in [0, 1], or None when the level was not read.
        threshold: the score in (0, 1] from which a flagged text has a category.

    Returns:
        `flagged`, `categories` (each true or false) and `category_scores`, the hazards' scores.

    Raises:
        InputError: the threshold is not in (0, 1].
        BundleError: hazards that the taxonomy does not know, all named.
        InferenceError: a score is not a number in [0, 1].
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must be above 0 and up to 1, got {threshold}")
    scores = translate(load_taxonomy("openai"), hazards)
    return {
        "flagged": flagged,
        "categories": {name: flagged and score >= threshold for name, score in scores.items()},
        "category_scores": scores,
    }
