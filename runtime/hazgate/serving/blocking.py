"""What gateways that block ask: is there a text to stop, or no verdict and yet a pass?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.errors import HazgateError, InputError
from hazgate.judging.verdict import Verdict
from hazgate.serving.failures import FAILED_OPEN_HEADER
from hazgate.serving.service import Service
from hazgate.serving.settings import FailOpenRoute


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """Of one request: why it is blocked, None if it is not.

    `unsafe` is the greatest P(unsafe) of its texts, None where there is no verdict or no text.
    `failed_open` is the kind of the error for which there is no verdict where the route lets such
    texts pass, else None; `headers` say so to the gateway.
    """

    reason: str | None = None
    unsafe: float | None = None
    failed_open: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the answer."""
        return {} if self.failed_open is None else {FAILED_OPEN_HEADER: self.failed_open}

    @property
    def metadata(self) -> dict[str, bool | float | str]:
        """What a gateway may log beside its own; nothing of a text."""
        facts: dict[str, bool | float | str] = {"blocked": self.reason is not None}
        if self.unsafe is not None:
            facts["unsafe"] = self.unsafe
        if self.failed_open is not None:
            facts["failed_open"] = self.failed_open
        return facts


async def rule(
    service: Service,
    texts: Sequence[str],
    *,
    route: FailOpenRoute,
    caller: str,
    timeout_s: float = math.inf,
) -> Ruling:
    """Whether any of the texts is to be stopped; arguments as of `Service.check`.

    Raises:
        InputError: a text cannot be read; whoever could pass by sending such ones would.
        HazgateError: there is no verdict, and the route fails closed.
    """
    try:
        verdicts = await service.check(texts, route=route, caller=caller, timeout_s=timeout_s)
    except InputError:
        raise
    except HazgateError as error:
        if not service.fails_open(route):
            raise
        return Ruling(failed_open=type(error).__name__)
    stopped = [verdict for verdict in verdicts if _stops(verdict)]
    return Ruling(
        reason=_reason(stopped) if stopped else None,
        unsafe=max((verdict.unsafe for verdict in verdicts), default=None),
    )


def _stops(verdict: Verdict) -> bool:
    """What a policy blocks, or without one what is flagged."""
    if verdict.decision is not None:
        return verdict.decision.action == "block"
    return verdict.flagged


def _reason(stopped: Sequence[Verdict]) -> str:
    """A sentence for the end user that names hazards alone."""
    hazards = sorted({verdict.hazard for verdict in stopped if verdict.hazard is not None})
    return f"Blocked by the safety gate: {', '.join(hazards) or 'unsafe'}"
