"""Decide for blocking gateways: block, pass, or pass because there is no verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.errors import HazgateError, InputError
from hazgate.judging.verdict import Verdict
from hazgate.serving.bodies.passages import BodyText, Unread
from hazgate.serving.failures import FAILED_OPEN_HEADER
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service
from hazgate.serving.settings import FailOpenRoute

# Passages of one request. Its tokens and bytes have limits of their own.
_MAX_PASSAGES = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockDecision:
    """The reason why a request is blocked, or None if it passes.

    `unsafe` is the greatest P(unsafe) of its texts, None if there is no verdict or no text.
    `failed_open` is the class name of the error if the request passes without a verdict, else
    None; `headers` say so to the gateway.
    """

    reason: str | None = None
    unsafe: float | None = None
    failed_open: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        return {} if self.failed_open is None else {FAILED_OPEN_HEADER: self.failed_open}

    @property
    def metadata(self) -> dict[str, bool | float | str]:
        """Facts that a gateway may log; nothing of a text."""
        facts: dict[str, bool | float | str] = {"blocked": self.reason is not None}
        if self.unsafe is not None:
            facts["unsafe"] = self.unsafe
        if self.failed_open is not None:
            facts["failed_open"] = self.failed_open
        return facts


async def decide_blocking(
    service: Service,
    body: BodyText,
    *,
    route: FailOpenRoute,
    caller: str,
    timeout_s: float = math.inf,
) -> BlockDecision:
    """Decide whether a request or a response is blocked.

    It is if any of its passages is, or if it has a part that could not be read: nobody may take
    such a part for checked.

    Args:
        service: the service that gives the verdicts.
        body: everything that was read, and what was not.
        route: the dialect that asks.
        caller: the name under which the request queues.
        timeout_s: seconds for which an answer is of use.

    Raises:
        InputError: a text cannot be read. It never passes, or anyone could pass by sending such
            texts.
        HazgateError: there is no verdict, and the route fails closed.
    """
    if body.unread:
        return BlockDecision(reason=_unread_reason(body.unread))
    texts = [passage.text for passage in body.passages]
    ask = Ask(texts=texts, caller=caller, timeout_s=timeout_s)
    try:
        verdicts = await service.check(ask, route=route, max_texts=_MAX_PASSAGES)
    except InputError:
        raise
    except HazgateError as error:
        if not service.fails_open(route):
            raise
        return BlockDecision(failed_open=type(error).__name__)
    blocked = [verdict for verdict in verdicts if _is_blocked(verdict)]
    return BlockDecision(
        reason=_reason(blocked) if blocked else None,
        unsafe=max((verdict.unsafe for verdict in verdicts), default=None),
    )


def _unread_reason(unread: Sequence[Unread]) -> str:
    """Return a sentence for the end user that names the kinds of what was not read."""
    kinds = sorted({part.kind for part in unread})
    return f"Blocked by the safety gate: not text, so not checked: {', '.join(kinds)}"


def _is_blocked(verdict: Verdict) -> bool:
    """Return whether the policy blocks a text; without a policy, whether it is flagged."""
    if verdict.decision is not None:
        return verdict.decision.action == "block"
    return verdict.flagged


def _reason(blocked: Sequence[Verdict]) -> str:
    """Return a sentence for the end user that names hazards only."""
    hazards = sorted({verdict.hazard for verdict in blocked if verdict.hazard is not None})
    return f"Blocked by the safety gate: {', '.join(hazards) or 'unsafe'}"
