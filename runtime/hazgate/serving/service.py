"""The service behind every dialect: verdicts within the server's limits, each request reported."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hazgate.classifier import DEFAULT_MAX_BATCH_TOKENS
from hazgate.errors import (
    DeadlineExceeded,
    HazgateError,
    InferenceError,
    InputError,
    Overloaded,
)
from hazgate.gate import Gate
from hazgate.judge import Answer, Judge, labels_of, level_of, verdict_of
from hazgate.judging.classification import Classification
from hazgate.judging.decision import Action
from hazgate.judging.speech import Side, UnreadKind
from hazgate.judging.verdict import ModelIdentity, Verdict
from hazgate.serving.bodies.pairs import paired
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.health import Health
from hazgate.serving.keys import KeyRing
from hazgate.serving.own_size import (
    OwnLimits,
    OwnWork,
    check_tokens,
    excess,
    most_work,
    size_bytes,
)
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.async_gate import answer
from hazgate.serving.queue.batcher import Batcher, no_answer_in_time
from hazgate.serving.queue.growing_check import GrowingCheck
from hazgate.serving.queue.settle import Outcome, first_error, settle
from hazgate.serving.settings import FailOpenRoute, ServeSettings
from hazgate.serving.side_loop import SideLoop

_LOG = logging.getLogger("hazgate.serving")

T = TypeVar("T")

# Words of the texts that are read once before the server is ready: the first run of a shape
# allocates memory that later runs reuse, and the last text fills the largest batch of the engine.
_WARM_UP_WORDS = (1, 8, DEFAULT_MAX_BATCH_TOKENS + 100)


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestFacts:
    """One request that ended, for metrics, logs and traces; nothing of its texts.

    `outcome` is "ok", "cancelled", or the class name of the error; only "ok" comes with verdicts,
    or with `labels` of a level that gives no verdicts.
    """

    route: str
    outcome: str
    seconds: float
    n_texts: int
    verdicts: tuple[Verdict, ...]
    labels: tuple[Classification, ...] = ()

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Every answer."""
        return (*self.verdicts, *self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamFacts:
    """One body that passed piece by piece and ended, for metrics; nothing of its texts.

    `outcome` is "passed", "blocked", "invalid_input", the code of another failure, or "cancelled"
    if it did not end. `delays_s` has the time that each piece was held back.
    """

    side: str
    outcome: str
    n_bytes: int
    n_released: int
    delays_s: tuple[float, ...]


@dataclass(kw_only=True, slots=True, eq=False)
class Service:
    """An engine with the server's settings and state, and observers of its requests.

    Only `apply` changes anything of it.
    """

    engine: Batcher
    settings: ServeSettings
    observers: Sequence[Callable[[RequestFacts], None]] = ()
    on_failed_open: Callable[[str], None] = lambda _: None
    on_unread: Callable[[UnreadKind, Action], None] = lambda *_: None
    on_stream: Callable[[StreamFacts], None] = lambda _: None
    health: Health = field(default_factory=Health)
    keys: KeyRing = field(default_factory=KeyRing)
    side_loop: SideLoop = field(default_factory=lambda: SideLoop("hazgate-side-loop"))

    def apply(self, settings: ServeSettings, judge: Judge) -> None:
        """Answer what comes from now on by other settings and another gate or level."""
        self.settings = settings
        self.engine.apply(settings.queue)
        self.engine.swap(judge)

    @property
    def judge(self) -> Judge:
        """The gate or the level that answers new requests."""
        return self.engine.judge

    @property
    def gate(self) -> Gate:
        """The gate that answers new requests.

        Raises:
            InputError: the server has a level that gives labels only. No route that needs a
                verdict has an answer then, and none ever lets a text pass.
        """
        return self.engine.gate

    @property
    def model(self) -> ModelIdentity:
        """The identity of the model that answers new requests."""
        return self.judge.model

    async def check(self, ask: Ask, *, route: str) -> list[Verdict]:
        """Return the verdict on each text of a request, within the server's own timeout.

        Args:
            ask: the request.
            route: the dialect that asks, for metrics and logs.

        Raises:
            InputError: a text cannot be read, the request fails by its own size, or the server
                gives no verdicts.
            HazgateError: there is no verdict; its class decides what the dialect answers.
        """
        self.require_verdicts()
        return [verdict_of(answer) for answer in await self.answer(ask, route=route)]

    async def classify(self, ask: Ask, *, route: str) -> list[Classification]:
        """Return the labels of each text of a request; of a gate, those of its Level 1.

        Raises:
            HazgateError: as of `check`, but any server has labels.
        """
        judge = self.judge
        # A caller's own threshold is unknown, and no claim covers it.
        ask = dataclasses.replace(ask, whole=True)
        return [labels_of(answer, judge) for answer in await self.answer(ask, route=route)]

    async def answer(self, ask: Ask, *, route: str) -> list[Answer]:
        """Return the answer on each text: a verdict if the server has a gate, else its labels.

        Raises:
            HazgateError: as of `check`.
        """
        outcomes = await self._settle(ask, route=route, enough=_is_error)
        error = first_error(outcomes)
        if error is not None:
            raise error
        return [outcome for outcome in outcomes if isinstance(outcome, (Verdict, Classification))]

    def require_verdicts(self) -> None:
        """Refuse what needs a verdict if this server gives none.

        Raises:
            InputError: it gives none, see `gate`.
        """
        _ = self.gate

    async def with_pairs(self, body: BodyText, questions: Sequence[str]) -> BodyText:
        """Return a response with its pairs, if the settings have `policy.pair`; else as it is.

        Raises:
            InputError: the server gives no verdicts.
        """
        if not (self.settings.policy.pair and questions):
            return body
        gate = self.gate
        tokenizer = gate.level1.tokenizer
        return await asyncio.to_thread(paired, body, questions, gate.conversation, tokenizer)

    async def settle(
        self, ask: Ask, *, route: str, enough: Callable[[Outcome], bool]
    ) -> list[Outcome | None]:
        """Return the outcome of each text, a verdict or an error; see `_settle`.

        Raises:
            InputError: as of `_settle`, or the server gives no verdicts.
            Overloaded: as of `_settle`.
        """
        self.require_verdicts()
        return await self._settle(ask, route=route, enough=enough)

    async def _settle(
        self, ask: Ask, *, route: str, enough: Callable[[Outcome], bool]
    ) -> list[Outcome | None]:
        """Return the outcome of each text of a request; None for what was not waited for.

        A text that had no answer because of the request's own size has an InputError.

        Args:
            ask: the request.
            route: the dialect that asks, for metrics and logs.
            enough: called with each outcome as it comes; True ends the waiting.

        Raises:
            InputError: the request has too many tokens.
            Overloaded: the engine has no time for it, whatever its size.
        """
        start_s = time.monotonic()
        # Stays if the caller hangs up.
        result = "cancelled"
        outcomes: list[Outcome | None] = []
        limits = self.settings.request
        ask = dataclasses.replace(ask, timeout_s=min(ask.timeout_s, limits.timeout_s))
        try:
            ask = dataclasses.replace(ask, tenant=self.tenant_of(ask.caller, ask.tenant))
            await self._check_tokens(ask)
            try:
                outcomes = await settle(self.engine, ask, enough=enough)
            except Overloaded:
                excess = await self._excess(ask)
                if excess is None:
                    raise
                raise excess from None
            if any(isinstance(outcome, (Overloaded, DeadlineExceeded)) for outcome in outcomes):
                excess = await self._excess(ask)
                outcomes = [_for_its_size(outcome, excess) for outcome in outcomes]
            error = first_error(outcomes)
            result = "ok" if error is None else type(error).__name__
            failed = next((each for each in outcomes if isinstance(each, InferenceError)), None)
            if failed is not None:
                _LOG.error("inference failed: %s", failed)
                # Perhaps only this text fails: readiness is the engine's, not a text's.
                self.health.suspect(self._run_engine)
        except HazgateError as error:
            result = type(error).__name__
            raise
        finally:
            answered = outcomes if result == "ok" else []
            self.report(
                RequestFacts(
                    route=route,
                    outcome=result,
                    seconds=time.monotonic() - start_s,
                    n_texts=len(ask.texts),
                    verdicts=tuple(each for each in answered if isinstance(each, Verdict)),
                    labels=tuple(each for each in answered if isinstance(each, Classification)),
                )
            )
        return outcomes

    async def _check_tokens(self, ask: Ask) -> None:
        """Refuse a request of too many tokens; texts of fewer bytes than that cannot have more.

        Raises:
            InputError: it has too many.
        """
        most = self.keys.max_tokens_of(ask.caller, self.settings.request.max_tokens)
        if size_bytes(ask.texts) + len(ask.texts) <= most:
            return
        tokenizer = level_of(self.judge).tokenizer
        await self._in_turn(ask, lambda: check_tokens(ask.texts, tokenizer.count_all, most))

    async def _in_turn(self, ask: Ask, work: Callable[[], T]) -> T:
        """Do work on a request's texts, on a thread and in its caller's turn.

        Raises:
            DeadlineExceeded: its turn did not come in time.
        """
        future = self.engine.in_turn(ask.caller, sum(map(len, ask.texts)), work)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), ask.left_s)
        except HazgateError:
            raise
        except asyncio.TimeoutError:
            raise no_answer_in_time(ask) from None

    async def _excess(self, ask: Ask) -> InputError | None:
        """Return why a request's own size keeps it from an answer, or None if it is small."""
        queue = self.settings.queue
        limits = OwnLimits(
            seconds_per_token=self.engine.seconds_per_token,
            timeout_s=ask.timeout_s,
            max_batch_tokens=queue.max_batch_tokens,
            max_queue_tokens=queue.max_queue_tokens,
        )
        at_most = excess(most_work(ask.texts), limits)
        if at_most is None:
            return None
        # Tokenised again, and only now: a small request costs nothing under load. Its own time may
        # be over, but a late answer could open a route.
        again = dataclasses.replace(ask, arrived_s=time.monotonic())
        try:
            questions = await self._in_turn(again, lambda: self.judge.ask(ask.texts))
        except (DeadlineExceeded, Overloaded):
            return at_most
        except InputError as error:
            return error
        work = OwnWork(
            n_texts=len(questions),
            n_tokens=sum(question.n_tokens for question in questions),
            longest_tokens=max((question.n_tokens for question in questions), default=0),
        )
        return excess(work, limits)

    def tenant_of(self, caller: str, asked: str | None = None) -> str | None:
        """Return the tenant whose rules a caller's request gets; see `KeyRing.tenant_of`.

        Raises:
            InputError: the caller's key may not be used for that tenant.
        """
        return self.keys.tenant_of(caller, asked)

    def growing_check(self, *, caller: str, tenant: str | None) -> GrowingCheck:
        """Return the checks of a growing text; they go through the queue and block their thread."""
        return GrowingCheck(
            self.engine,
            tenant=tenant,
            caller=caller,
            timeout_s=self.settings.request.timeout_s,
        )

    async def aside(self, work: Callable[[], Coroutine[Any, Any, T]], *, is_heavy: bool) -> T:
        """Run a coroutine, on the second event loop if it is heavy.

        Args:
            work: makes the coroutine; it may use this service, and nothing of this event loop.
            is_heavy: it would hold up the event loop.
        """
        return await (self.side_loop.run(work) if is_heavy else work())

    async def warm(self) -> None:
        """Read the warm-up texts; the service is ready afterwards.

        Raises:
            InferenceError: the engine does not answer.
        """
        for text in warm_up_texts(self.judge):
            await answer(self.engine, Ask(texts=[text], all_levels=True))
        self.health.warm()

    @property
    def live(self) -> bool:
        """True if the engine's thread lives and the running batch is not overdue."""
        return self.engine.alive and self.engine.run_age_s <= self.settings.engine.max_run_s

    async def ready(self) -> bool:
        """Return whether requests may be sent here; try a failing engine again first."""
        await self.health.try_again(self._run_engine)
        return self.health.ready and self.live

    async def prove(self) -> None:
        """Run a text through every level, past the queue and its cache.

        Afterwards `health.failing` is up to date even without traffic.

        Raises:
            InferenceError: the engine fails.
        """
        failing = True
        try:
            await self._run_engine()
            failing = False
        finally:
            self.health.failing = failing

    async def _run_engine(self) -> None:
        await asyncio.to_thread(run_through, self.judge, [_within_limits(self.judge, 1)])

    def report(self, facts: RequestFacts) -> None:
        """Report a request that ended to every observer."""
        for observe in self.observers:
            observe(facts)

    def judge_unread(
        self, kinds: Sequence[UnreadKind], side: Side, tenant: str | None = None
    ) -> Action:
        """Return the policy's action on parts of these kinds; report each of them.

        Raises:
            InputError: no policy names the tenant.
        """
        action = self.gate.unread_action(kinds, side=side, tenant=tenant)
        for kind in kinds:
            self.on_unread(kind, action)
        return action

    def may_fail_open(self, route: FailOpenRoute) -> bool:
        """Return whether the settings let a text without a verdict pass on `route`."""
        return route in self.settings.fail_open

    async def works(self) -> bool:
        """Return whether the engine answers a harmless text now."""
        try:
            await self.prove()
        except Exception:
            return False
        return True


def warm_up_texts(judge: Judge) -> list[str]:
    """Return the texts to read before a judge serves, shortest first, within its limits."""
    return [_within_limits(judge, n_words) for n_words in _WARM_UP_WORDS]


def _within_limits(judge: Judge, n_words: int) -> str:
    """Return that many words, or as many as the judge's limits take."""
    while n_words:
        text = "word " * n_words
        try:
            judge.ask([text])
        except InputError:
            n_words //= 2
        else:
            return text
    return ""


def run_through(judge: Judge, texts: Sequence[str]) -> None:
    """Run texts through every level of a judge, on the calling thread.

    Raises:
        InferenceError: a model failed.
    """
    judge.answer(judge.ask(texts, all_levels=True))


def _is_error(outcome: Outcome) -> bool:
    return isinstance(outcome, Exception)


def _for_its_size(outcome: Outcome | None, excess: InputError | None) -> Outcome | None:
    """Return the excess in place of an overload or a late answer, if there is one."""
    late = isinstance(outcome, (Overloaded, DeadlineExceeded))
    return excess if late and excess is not None else outcome
