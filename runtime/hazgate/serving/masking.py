"""Masking: the windows that a policy masks are replaced by a marker, and the rest is judged again.

What is returned was judged as it is returned: masking goes on until nothing of it is blocked, or
ends with a block. A part that nobody read is never masked.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from hazgate.serving.blocking import BlockDecision

MARKER = "[removed by the safety gate]"
# A text that still has something to mask after so many rounds is blocked.
_MAX_ROUNDS = 16

D = TypeVar("D")


async def decide_masking(
    document: D,
    decide: Callable[[D], Awaitable[BlockDecision]],
    mask: Callable[[D, str], D],
) -> tuple[BlockDecision, D]:
    """Decide on a document, masking what its policy masks.

    Args:
        document: what was said.
        decide: judges a document.
        mask: returns a document with every occurrence of a string replaced by the marker; an
            equal one if it cannot replace it.

    Returns:
        The decision on the second value: the document, masked where it had to be. A reason to
        block stays where something cannot be masked.

    Raises:
        HazgateError: by `decide`.
    """
    decision = await decide(document)
    for _ in range(_MAX_ROUNDS):
        if decision.reason is None or not _may_mask(decision):
            break
        masked = document
        for passage, verdict in zip(decision.blocked_passages, decision.blocked, strict=True):
            window = passage.text[verdict.span.start : verdict.span.end].strip()
            masked = mask(masked, window) if window else masked
        if masked == document:
            break
        after = await decide(masked)
        if after.failed_open is not None:
            # What is known to be unsafe does not pass because the engine then failed.
            break
        decision, document = after, masked
    return decision, document


def mask_strings(value: Any, window: str) -> Any:  # noqa: ANN401 - any JSON value
    """Replace a window in every string of a JSON value, but in no key."""
    if isinstance(value, str):
        return value.replace(window, MARKER)
    if isinstance(value, list):
        return [mask_strings(item, window) for item in value]
    if isinstance(value, dict):
        return {key: mask_strings(item, window) for key, item in value.items()}
    return value


def mask_texts(texts: tuple[str, ...], window: str) -> tuple[str, ...]:
    """Replace a window in each of some texts."""
    return tuple(text.replace(window, MARKER) for text in texts)


def _may_mask(decision: BlockDecision) -> bool:
    """Return whether every text that is blocked is so by the action "mask"."""
    return bool(decision.blocked) and all(
        verdict.decision is not None and verdict.decision.action == "mask"
        for verdict in decision.blocked
    )
