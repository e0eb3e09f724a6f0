"""The categories of another guard that a verdict falls under, for answers in that guard's words."""

from hazgate.judging.taxonomy import load_taxonomy
from hazgate.judging.verdict import Verdict

# The hazards' probabilities sum to one, so at most three categories reach a third.
_SHARE = 1 / 3


def named_categories(verdict: Verdict, taxonomy: str, fallback: str) -> tuple[str, ...]:
    """Return the categories of a verdict, in the taxonomy's order; at least one.

    Args:
        verdict: of a text that is flagged, or that the policy flags or blocks.
        taxonomy: see hazgate.judging.taxonomy.
        fallback: the category of hazards that the taxonomy does not have, and of verdicts without
            hazards: a flagged text must not come out as a text of no category.
    """
    known = load_taxonomy(taxonomy)
    hazards = verdict.hazards or {}
    likely = {name for name, score in hazards.items() if score >= _SHARE}
    if verdict.hazard is not None:
        likely.add(verdict.hazard)
    found: set[str] = set()
    for hazard in likely:
        entry = known.hazards.get(hazard)
        matches = entry.matches if entry is not None else ()
        found.update(match.category for match in matches)
        if not matches:
            found.add(fallback)
    if not found:
        found.add(fallback)
    return tuple(category.id for category in known.categories if category.id in found)
