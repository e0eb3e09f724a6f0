"""A verdict in the format of OpenAI's moderation endpoint, for clients that read only that."""

from collections.abc import Mapping
from typing import Any

from hazgate.errors import InputError
from hazgate.judging.taxonomy import load_taxonomy, translate


def moderation_result(
    *, flagged: bool, hazards: Mapping[str, float] | None, threshold: float
) -> dict[str, Any]:
    """Return one entry of `results`.

    A text that is not flagged has no category. A flagged one may have none either: OpenAI does
    not name its hazard (privacy, misinformation, specialized advice), or no score reaches the
    threshold. A client that reads `flagged` is right in every case.

    Source: https://platform.openai.com/docs/api-reference/moderations.

    Args:
        flagged: the verdict's `flagged`.
        hazards: score of each hazard in [0, 1], or None if Level 2 was not read.
        threshold: the score in (0, 1] from which a flagged text has a category.

    Returns:
        `flagged`, `categories` (each true or false) and `category_scores`, the hazards' scores.

    Raises:
        InputError: the threshold is not in (0, 1].
        BundleError: the taxonomy does not know some hazards; names all of them.
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
