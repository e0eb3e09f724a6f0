"""The service behind every dialect: verdicts within the server's limits, each request reported."""

import asyncio
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hazgate.classifier import DEFAULT_MAX_BATCH_TOKENS
from hazgate.errors import HazgateError, InferenceError, InputError
from hazgate.gate import Gate
from hazgate.judging.verdict import ModelIdentity, Verdict
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.async_gate import answer
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.settings import FailOpenRoute, ServeSettings
from hazgate.text.watch import Watch

# Read once before the server is ready: the first run of a shape allocates memory that later runs
# reuse, and the last of these texts fills the largest batch that the engine ever runs.
WARM_UP_TEXTS = (
    "hello",
    "How do I kill a Python process?",
    "word " * (DEFAULT_MAX_BATCH_TOKENS + 100),
)


@dataclass(kw_only=True, slots=True)
class Health:
    """The state of the engine: may requests be sent to it?

    `warmed` is set after the warm-up texts were answered, `failing` from a failed inference until
    one succeeds, `draining` once the server ends.
    """

    warmed: bool = False
    failing: bool = False
    draining: bool = False

    @property
    def ready(self) -> bool:
        """True if a load balancer should send requests here."""
        return self.warmed and not self.failing and not self.draining


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestFacts:
    """One request that ended, for metrics, logs and traces; nothing of its texts.

    `outcome` is "ok", "cancelled", or the class name of the error; only "ok" comes with verdicts.
    """

    route: str
    outcome: str
    seconds: float
    n_texts: int
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """An engine with the server's settings and state, and observers of its requests."""

    engine: Batcher
    settings: ServeSettings
    observers: Sequence[Callable[[RequestFacts], None]] = ()
    on_failed_open: Callable[[str], None] = lambda _: None
    health: Health = field(default_factory=Health)

    @property
    def gate(self) -> Gate:
        """The gate that answers new requests."""
        return self.engine.gate

    @property
    def model(self) -> ModelIdentity:
        """The identity of the model that answers new requests."""
        return self.gate.model

    async def check(self, ask: Ask, *, route: str, max_texts: int | None = None) -> list[Verdict]:
        """Return the verdict on each text of a request, within the server's own timeout.

        Args:
            ask: the request.
            route: the dialect that asks, for metrics and logs.
            max_texts: the most texts of one request; None takes the setting.

        Raises:
            HazgateError: there is no verdict; its class decides what the dialect answers.
        """
        start_s = time.monotonic()
        # Stays if the caller hangs up.
        outcome = "cancelled"
        verdicts: list[Verdict] = []
        limits = self.settings.request
        try:
            most = limits.max_texts if max_texts is None else max_texts
            if len(ask.texts) > most:
                raise InputError(
                    f"{len(ask.texts)} texts in one request, at most {most} are accepted; send "
                    "several requests"
                )
            timeout_s = min(ask.timeout_s, limits.timeout_s)
            verdicts = await answer(self.engine, dataclasses.replace(ask, timeout_s=timeout_s))
            outcome = "ok"
            self.health.failing = False
        except HazgateError as error:
            outcome = type(error).__name__
            if isinstance(error, InferenceError):
                self.health.failing = True
            raise
        finally:
            self.report(
                RequestFacts(
                    route=route,
                    outcome=outcome,
                    seconds=time.monotonic() - start_s,
                    n_texts=len(ask.texts),
                    verdicts=tuple(verdicts),
                )
            )
        return verdicts

    def watch(self, *, caller: str, tenant: str | None) -> Watch:
        """Watch a growing text; its checks go through the queue and block the calling thread.

        Raises:
            InputError, Overloaded, DeadlineExceeded, InferenceError: by `Watch`, as `check` does.
        """
        check = functools.partial(
            self.engine.check,
            tenant=tenant,
            caller=caller,
            timeout_s=self.settings.request.timeout_s,
        )
        return self.gate.watch(tenant=tenant, check=check)

    async def warm(self) -> None:
        """Read the warm-up texts; the service is ready afterwards.

        Raises:
            InferenceError: the engine does not answer.
        """
        for text in WARM_UP_TEXTS:
            await answer(self.engine, Ask(texts=[text], all_levels=True))
        self.health.warmed = True

    async def prove(self) -> None:
        """Run a text through both levels, past the queue and its cache.

        Afterwards `health.failing` is up to date even without traffic.

        Raises:
            InferenceError: the engine fails.
        """
        failing = True
        try:
            await asyncio.to_thread(self.gate.check, WARM_UP_TEXTS[0], all_levels=True)
            failing = False
        finally:
            self.health.failing = failing

    def report(self, facts: RequestFacts) -> None:
        """Report a request that ended to every observer."""
        for observe in self.observers:
            observe(facts)

    def fails_open(self, route: FailOpenRoute) -> bool:
        """Return whether `route` lets a text without a verdict pass; report it if so."""
        if route not in self.settings.fail_open:
            return False
        self.on_failed_open(route)
        return True
