"""What every dialect asks: verdicts, counted, within the server's limits."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hazgate.classifier import DEFAULT_MAX_BATCH_TOKENS
from hazgate.errors import HazgateError, InferenceError, InputError
from hazgate.judging.verdict import Verdict
from hazgate.serving.queue.async_gate import AsyncGate
from hazgate.serving.settings import FailOpenRoute, ServeSettings

# Read once before the server is ready: the first run of a shape allocates what others find, and the
# last of these fills the largest batch that the engine ever runs.
CANARIES = ("hello", "How do I kill a Python process?", "word " * (DEFAULT_MAX_BATCH_TOKENS + 100))


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
class RequestFacts:
    """One request that ended: for metrics, logs and traces; nothing of its texts.

    `outcome` is "ok", "cancelled", or the kind of the error; only with "ok" there are verdicts.
    """

    route: str
    outcome: str
    seconds: float
    n_texts: int
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A gate with its settings and state, and those who are told what happens."""

    engine: AsyncGate
    settings: ServeSettings
    observers: Sequence[Callable[[RequestFacts], None]] = ()
    on_failed_open: Callable[[str], None] = lambda _: None
    health: Health = field(default_factory=Health)

    async def check(
        self,
        texts: Sequence[str],
        *,
        route: str,
        caller: str = "",
        all_levels: bool = False,
        tenant: str | None = None,
        timeout_s: float = math.inf,
    ) -> list[Verdict]:
        """The verdict on each text of one request; `timeout_s` may shorten the server's own.

        Raises:
            HazgateError: there is no verdict; of which kind says what the dialect answers.
        """
        start_s = time.monotonic()
        # What stands if the caller hangs up.
        outcome = "cancelled"
        verdicts: list[Verdict] = []
        try:
            if len(texts) > self.settings.request.max_texts:
                raise InputError(
                    f"{len(texts)} texts, at most {self.settings.request.max_texts} are taken in "
                    "one request; send several"
                )
            verdicts = await self.engine.check_many(
                texts,
                all_levels=all_levels,
                tenant=tenant,
                caller=caller,
                timeout_s=min(timeout_s, self.settings.request.timeout_s),
            )
            outcome = "ok"
            self.health.failing = False
        except HazgateError as error:
            outcome = type(error).__name__
            if isinstance(error, InferenceError):
                self.health.failing = True
            raise
        finally:
            self.tell(
                RequestFacts(
                    route=route,
                    outcome=outcome,
                    seconds=time.monotonic() - start_s,
                    n_texts=len(texts),
                    verdicts=tuple(verdicts),
                )
            )
        return verdicts

    async def warm(self) -> None:
        """Reads the canaries; ready afterwards.

        Raises:
            InferenceError: the engine does not answer.
        """
        for text in CANARIES:
            await self.engine.check(text, all_levels=True)
        self.health.warmed = True

    async def prove(self) -> None:
        """Runs a canary through both levels, past the queue and what it has kept of answers.

        Whether the engine is `failing` is known afterwards, though nobody asked anything.

        Raises:
            InferenceError: it is.
        """
        failing = True
        try:
            gate = self.engine.batcher.gate
            await asyncio.to_thread(gate.check, CANARIES[0], all_levels=True)
            failing = False
        finally:
            self.health.failing = failing

    def tell(self, facts: RequestFacts) -> None:
        """Tells whoever observes that a request ended."""
        for observe in self.observers:
            observe(facts)

    def fails_open(self, route: FailOpenRoute) -> bool:
        """Whether `route` lets a text pass of which there is no verdict; told if it does."""
        if route not in self.settings.fail_open:
            return False
        self.on_failed_open(route)
        return True
