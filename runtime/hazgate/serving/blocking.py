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
from hazgate.judging.speech import UNVOUCHED_LANGUAGE, Side, UnreadKind
from hazgate.judging.verdict import Verdict
from hazgate.serving.bodies.passages import BodyText, Passage, Unread, spelt
from hazgate.serving.bodies.table import NAMES
from hazgate.serving.failures import FAILED_OPEN_HEADER, UNREAD_HEADER
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.settle import Outcome
from hazgate.serving.service import Service
from hazgate.serving.settings import FailOpenRoute


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockDecision:
    """The reason why a request is blocked, or None if it passes.

    `unsafe` is the greatest P(unsafe) of its texts, None if there is no verdict or no text, and
    `blocked` has the verdicts on the texts that are blocked, `blocked_passages` those texts.
    `flagged` is True if a text or an unread part is flagged or blocked. `unread` are the parts
    that nobody read, and the texts of which no score says anything, whatever the policy makes of
    them. `n_truncated` texts were not read to their end. `failed_open` is the class name of the
    error if the request passes without a verdict, else None. `headers` say so to the gateway.
    """

    reason: str | None = None
    unsafe: float | None = None
    blocked: tuple[Verdict, ...] = ()
    blocked_passages: tuple[Passage, ...] = ()
    flagged: bool = False
    unread: tuple[Unread, ...] = ()
    n_truncated: int = 0
    failed_open: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer."""
        headers: dict[str, str] = {}
        if self.failed_open is not None:
            headers[FAILED_OPEN_HEADER] = self.failed_open
        if self.unread:
            headers[UNREAD_HEADER] = ", ".join(kinds_of(self.unread))
        return headers

    @property
    def metadata(self) -> dict[str, bool | float | str | list[str]]:
        """Facts that a gateway may log; nothing of a text."""
        facts: dict[str, bool | float | str | list[str]] = {
            "blocked": self.reason is not None,
            "flagged": self.flagged,
        }
        if self.unsafe is not None:
            facts["unsafe"] = self.unsafe
        if self.unread:
            facts["unread"] = [f"{part.kind} at {spelt(part.place, NAMES)}" for part in self.unread]
        if self.failed_open is not None:
            facts["failed_open"] = self.failed_open
        return facts


async def decide_blocking(
    service: Service,
    body: BodyText,
    *,
    route: FailOpenRoute,
    caller: str,
    side: Side = "request",
    questions: Sequence[str] = (),
    timeout_s: float = math.inf,
) -> BlockDecision:
    """Decide whether a request or a response is blocked.

    It is if any of its passages is, whatever became of the others, or if the policy blocks a part
    that could not be read, as it does unless its file says otherwise.

    Args:
        service: the service that gives the verdicts.
        body: everything that was read, and what was not.
        route: the dialect that asks.
        caller: the name under which the request queues.
        side: the side whose policy decides.
        questions: the last user turns of the request that a response answers, beside which it
            is judged, too, if the settings say so.
        timeout_s: seconds for which an answer is of use.

    Raises:
        InputError: a text cannot be read, or the request is too large for the engine. It never
            passes, or anyone could pass by sending such texts.
        HazgateError: there is no verdict, and the route fails closed.
    """
    on_unread = service.judge_unread(
        [part.kind for part in body.unread], side, service.tenant_of(caller)
    )
    if on_unread == "block":
        return BlockDecision(reason=_unread_reason(body.unread), flagged=True, unread=body.unread)
    body = await service.with_pairs(body, questions)
    ask = Ask(
        texts=[passage.text for passage in body.passages],
        roles=[passage.role for passage in body.passages],
        side=side,
        caller=caller,
        timeout_s=timeout_s,
    )
    seen = _Seen()
    try:
        outcomes = await service.settle(ask, route=route, enough=seen.is_enough)
    except InputError:
        raise
    except HazgateError as error:
        return await _without_verdict(service, route, error, body.unread)
    verdicts = [outcome for outcome in outcomes if isinstance(outcome, Verdict)]
    unread = body.unread + tuple(
        Unread(kind=kind, place=passage.place)
        for passage, outcome in zip(body.passages, outcomes, strict=True)
        if isinstance(outcome, Verdict)
        for kind in outcome.unread_kinds
    )
    blocked = [verdict for verdict in verdicts if _is_blocked(verdict)]
    passages = [
        passage
        for passage, outcome in zip(body.passages, outcomes, strict=True)
        if isinstance(outcome, Verdict) and _is_blocked(outcome)
    ]
    failure = gravest([outcome for outcome in outcomes if isinstance(outcome, Exception)])
    if failure is not None and not blocked:
        return await _without_verdict(service, route, failure, unread)
    return BlockDecision(
        reason=_reason(blocked) if blocked else None,
        unsafe=max((verdict.unsafe for verdict in verdicts), default=None),
        blocked=tuple(blocked),
        blocked_passages=tuple(passages),
        flagged=on_unread == "flag" or any(verdict.flagged for verdict in verdicts),
        unread=unread,
        n_truncated=sum(verdict.truncated for verdict in verdicts),
    )


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
    service: Service, route: FailOpenRoute, error: Exception, unread: tuple[Unread, ...]
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
    return BlockDecision(failed_open=type(error).__name__, unread=unread)


def _unread_reason(unread: Sequence[Unread]) -> str:
    """Return a sentence for the end user that names the kinds of what was not read."""
    kinds = ", ".join(kinds_of(unread))
    return f"Blocked by the safety gate: not text, so not checked: {kinds}"


def remarks_on(unread: Sequence[Unread]) -> list[str]:
    """Return what to say of a request that passes: what was not checked, and what nobody proved."""
    kinds = kinds_of(unread)
    not_text = ", ".join(kind for kind in kinds if kind != UNVOUCHED_LANGUAGE)
    remarks = [f"not text, so not checked: {not_text}"] if not_text else []
    if UNVOUCHED_LANGUAGE in kinds:
        remarks.append("in a language that the model is not vouched for")
    return remarks


def kinds_of(unread: Sequence[Unread]) -> list[UnreadKind]:
    """Return the kinds of unread parts, each once, in alphabetical order."""
    return sorted({part.kind for part in unread})


def _is_blocked(verdict: Verdict) -> bool:
    """Return whether the policy blocks a text; without a policy, whether it is flagged."""
    if verdict.decision is not None:
        # A text is masked only where a dialect asks again with the masked one.
        return verdict.decision.action in ("block", "mask")
    return verdict.flagged


def _is_blocked_for_language(verdict: Verdict) -> bool:
    severity = "unsafe" if verdict.decision is None else verdict.decision.severity
    return verdict.language is not None and verdict.understood and severity != "unsafe"


def _reason(blocked: Sequence[Verdict]) -> str:
    """Return a sentence for the end user that names hazards and the levels that decided.

    It says so if nobody could read it.
    """
    decided = [verdict.decision for verdict in blocked if verdict.decision is not None]
    levels = {level for decision in decided for level in decision.levels}
    hazards = sorted({*levels, *(each.hazard for each in blocked if each.hazard is not None)})
    if not hazards and all(map(_is_blocked_for_language, blocked)):
        return "Blocked by the safety gate: in a language that the model is not vouched for"
    if not hazards and not any(verdict.understood for verdict in blocked):
        return "Blocked by the safety gate: not understood, so not checked: unknown words"
    return f"Blocked by the safety gate: {', '.join(hazards) or 'unsafe'}"
