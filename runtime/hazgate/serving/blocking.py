"""Decide for blocking gateways: block, pass, or pass because there is no verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.errors import (
    DeadlineExceeded,
    HazgateError,
    InferenceError,
    InputError,
    Overloaded,
)
from hazgate.judging.verdict import Verdict
from hazgate.serving.bodies.passages import BodyText, Unread
from hazgate.serving.failures import FAILED_OPEN_HEADER
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.settle import Outcome
from hazgate.serving.service import Service
from hazgate.serving.settings import FailOpenRoute


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

    It is if any of its passages is, whatever became of the others, or if it has a part that could
    not be read: nobody may take such a part for checked.

    Args:
        service: the service that gives the verdicts.
        body: everything that was read, and what was not.
        route: the dialect that asks.
        caller: the name under which the request queues.
        timeout_s: seconds for which an answer is of use.

    Raises:
        InputError: a text cannot be read, or the request is too large for the engine. It never
            passes, or anyone could pass by sending such texts.
        HazgateError: there is no verdict, and the route fails closed.
    """
    if body.unread:
        return BlockDecision(reason=_unread_reason(body.unread))
    texts = [passage.text for passage in body.passages]
    ask = Ask(texts=texts, caller=caller, timeout_s=timeout_s)
    seen = _Seen()
    try:
        outcomes = await service.settle(ask, route=route, enough=seen.is_enough)
    except InputError:
        raise
    except HazgateError as error:
        return await _without_verdict(service, route, error)
    verdicts = [outcome for outcome in outcomes if isinstance(outcome, Verdict)]
    blocked = [verdict for verdict in verdicts if _is_blocked(verdict)]
    unsafe = max((verdict.unsafe for verdict in verdicts), default=None)
    if blocked:
        return BlockDecision(reason=_reason(blocked), unsafe=unsafe)
    failure = gravest([outcome for outcome in outcomes if isinstance(outcome, Exception)])
    if failure is not None:
        return await _without_verdict(service, route, failure)
    return BlockDecision(unsafe=unsafe)


class _Seen:
    """The outcomes so far: a request is decided once one text is blocked and another failed."""

    def __init__(self) -> None:
        self._has_failed = False
        self._has_blocked = False

    def is_enough(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Verdict):
            self._has_blocked |= _is_blocked(outcome)
        else:
            self._has_failed = True
        return isinstance(outcome, InputError) or (self._has_blocked and self._has_failed)


def gravest(errors: Sequence[Exception]) -> Exception | None:
    """Return the error that decides: the one that may least be taken for overload, or None."""
    order = (InputError, InferenceError, Overloaded, DeadlineExceeded)
    for kind in order:
        for error in errors:
            if isinstance(error, kind):
                return error
    return errors[0] if errors else None


async def _without_verdict(
    service: Service, route: FailOpenRoute, error: Exception
) -> BlockDecision:
    """Return a decision that passes if the route fails open; else raise the error.

    What a request itself causes never opens it: a text that cannot be read, a request too large
    for the engine, or a text on which alone the engine fails.

    Raises:
        Exception: `error`.
    """
    if not isinstance(error, HazgateError) or isinstance(error, InputError):
        raise error
    if not service.may_fail_open(route):
        raise error
    if isinstance(error, InferenceError) and await service.works():
        raise error
    service.on_failed_open(route)
    return BlockDecision(failed_open=type(error).__name__)


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
