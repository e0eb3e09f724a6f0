"""What every dialect asks: verdicts, counted, within the server's limits."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hazgate.errors import HazgateError, InferenceError, InputError
from hazgate.serving.async_gate import AsyncGate
from hazgate.serving.metrics import Metrics
from hazgate.serving.settings import FailOpenRoute, ServeSettings
from hazgate.verdict import Verdict


@dataclass(kw_only=True, slots=True)
class Health:
    """Whether the engine may be sent requests.

    `warmed` after a canary text was answered; `failing` from an inference that failed until one
    succeeds; `draining` once the server ends.
    """

    warmed: bool = False
    failing: bool = False
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return self.warmed and not self.failing and not self.draining


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A gate with its settings, figures and state."""

    gate: AsyncGate
    settings: ServeSettings
    metrics: Metrics
    health: Health = field(default_factory=Health)

    async def check(
        self,
        texts: Sequence[str],
        *,
        route: str,
        caller: str = "",
        all_levels: bool = False,
        tenant: str | None = None,
    ) -> list[Verdict]:
        """The verdict on each text of one request.

        Raises:
            HazgateError: there is no verdict; of which kind says what the dialect answers.
        """
        start_s = time.monotonic()
        # What stands if the caller hangs up.
        outcome = "cancelled"
        try:
            if len(texts) > self.settings.request.max_texts:
                raise InputError(
                    f"{len(texts)} texts, at most {self.settings.request.max_texts} are taken in "
                    "one request; send several"
                )
            verdicts = await self.gate.check_many(
                texts,
                all_levels=all_levels,
                tenant=tenant,
                caller=caller,
                timeout_s=self.settings.request.timeout_s,
            )
            outcome = "ok"
            self.health.failing = False
            self.metrics.count_verdicts(verdicts)
        except HazgateError as error:
            outcome = type(error).__name__
            if isinstance(error, InferenceError):
                self.health.failing = True
            raise
        finally:
            self.metrics.count_request(route, outcome, time.monotonic() - start_s)
        return verdicts

    def fails_open(self, route: FailOpenRoute) -> bool:
        """Whether `route` lets a text pass of which there is no verdict; counted if it does."""
        if route not in self.settings.fail_open:
            return False
        self.metrics.count_failed_open(route)
        return True
