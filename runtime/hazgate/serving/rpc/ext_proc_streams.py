"""A body that Envoy sends piece by piece: held back, judged, and released or stopped.

In `STREAMED` mode each piece is answered once, in order; an empty answer holds it back, and what
is released goes with a later one. In `FULL_DUPLEX_STREAMED` mode answers go whenever there is
something to release, and the headers wait for the first of them, so that a refusal has a status.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping

from envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    ProcessingResponse,
    TrailersResponse,
)

from hazgate.errors import HazgateError, InputError
from hazgate.judging.speech import Side
from hazgate.serving.blocking import BlockDecision
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.envoy import BLOCKED_STATUS, UNREADABLE_STATUS
from hazgate.serving.failures import failure_of
from hazgate.serving.holdback import HoldBack, HoldLimits
from hazgate.serving.rpc.ext_proc_answers import note, refuse, replace_piece, send_pieces
from hazgate.serving.service import Service, StreamFacts

_STATUS = {"blocked": BLOCKED_STATUS, "invalid_input": UNREADABLE_STATUS}


class StreamedBody:
    """One side's body in an exchange."""

    def __init__(
        self,
        service: Service,
        *,
        side: Side,
        headers: Mapping[str, str],
        is_duplex: bool,
        decide: Callable[[BodyText, Side], Awaitable[BlockDecision]],
    ) -> None:
        """Start before the first piece.

        Args:
            service: gives the verdicts, and has the settings.
            side: "request" or "response".
            headers: of the message, names in lower case.
            is_duplex: the mode is FULL_DUPLEX_STREAMED, not STREAMED.
            decide: decides on a part of the body.
        """
        self._service = service
        self._side = side
        self._kind = f"{side}_body"
        self._is_duplex = is_duplex
        self._judge = decide
        settings = service.settings
        self._hold_s = settings.stream.hold_s
        self._hold = HoldBack(
            headers=headers,
            side=side,
            tokenizer=service.gate.level1.tokenizer,
            limits=HoldLimits(
                hold_tokens=settings.stream.hold_tokens,
                hold_s=settings.stream.hold_s,
                max_held_bytes=settings.request.max_body_bytes,
            ),
        )
        # Headers that wait for the first decision on the body.
        self._headers_answer: ProcessingResponse | None = None
        # The time when the piece came that Envoy waits for; None if it waits for none.
        self._owed_since_s: float | None = None
        self._carried = b""
        # Else trailers end it.
        self._ends_with_body = False
        self._facts: dict[str, bool | float | str | list[str]] = {"blocked": False}
        self._unsafe = 0.0
        self._outcome: str | None = None

    def hold_headers(self, answer: ProcessingResponse) -> list[ProcessingResponse]:
        """Return the answers to the headers now; in full duplex they wait for the body."""
        if not self._is_duplex:
            return [answer]
        self._headers_answer = answer
        return []

    @property
    def due_s(self) -> float:
        """The time at which `tick` has something to do; infinite if only a piece can change it."""
        if self._outcome is not None:
            return math.inf
        owed_s = math.inf if self._owed_since_s is None else self._owed_since_s + self._hold_s
        return min(self._hold.due_s, owed_s)

    async def feed(self, body: HttpBody) -> list[ProcessingResponse]:
        """Take the next piece.

        Raises:
            HazgateError: there is no verdict, and nothing of the exchange has passed yet.
        """
        answers = self._answer_owed()
        if not self._is_duplex:
            self._owed_since_s = time.monotonic()
        if self._outcome is not None:
            # What comes behind the end of a stopped body goes nowhere.
            return [*answers, *self._answer_owed()]
        self._ends_with_body = body.end_of_stream
        return answers + await self._go_on(body.body, end=body.end_of_stream)

    async def end(self, kind: str) -> list[ProcessingResponse]:
        """Take trailers, which end the body.

        Raises:
            InputError: a part of a STREAMED body still waits, and can no longer be sent on.
            HazgateError: as in `feed`.
        """
        answers: list[ProcessingResponse] = []
        if self._outcome is None:
            answers = await self._go_on(b"", end=True)
        if self._carried:
            raise InputError(
                "trailers came while a part of the body was held back; set the body's mode to "
                "FULL_DUPLEX_STREAMED"
            )
        if self._outcome not in (None, "passed") and self._is_duplex:
            return answers
        return [*answers, ProcessingResponse(**{kind: TrailersResponse()})]

    async def tick(self) -> list[ProcessingResponse]:
        """Judge and release what has waited long enough.

        Raises:
            HazgateError: as in `feed`.
        """
        if self._hold.due_s <= time.monotonic():
            return await self._settle()
        return self._answer_owed()

    def close(self) -> None:
        """Report the body to the service; the exchange has ended."""
        self._service.on_stream(
            StreamFacts(
                side=self._side,
                outcome=self._outcome or "cancelled",
                n_bytes=self._hold.n_bytes,
                n_released=self._hold.n_released,
                delays_s=tuple(self._hold.delays_s),
            )
        )

    async def _go_on(self, piece: bytes, *, end: bool) -> list[ProcessingResponse]:
        try:
            self._hold.feed(piece, time.monotonic(), end=end)
        except InputError as error:
            return self._stop("invalid_input", str(error))
        if self._hold.due_s > time.monotonic():
            return []
        return await self._settle()

    async def _settle(self) -> list[ProcessingResponse]:
        try:
            decision = await self._decide()
        except InputError as error:
            return self._stop("invalid_input", str(error))
        except HazgateError as error:
            if self._can_refuse:
                raise
            failure = failure_of(error)
            return self._stop(failure.code, failure.message)
        self._note(decision)
        if decision.reason is not None:
            return self._stop("blocked", decision.reason)
        released = self._hold.clear(time.monotonic())
        if self._hold.ended:
            self._outcome = "passed"
        return self._pass(released, end=self._ends_with_body)

    async def _decide(self) -> BlockDecision:
        body = self._hold.take()
        if not body.passages and not body.unread:
            return BlockDecision()
        return await self._judge(body, self._side)

    def _note(self, decision: BlockDecision) -> None:
        flagged = self._facts.get("flagged", False) or decision.flagged
        self._facts.update(decision.metadata)
        self._facts["flagged"] = flagged
        if decision.unsafe is not None:
            self._unsafe = self._facts["unsafe"] = max(self._unsafe, decision.unsafe)

    def _pass(self, released: bytes, *, end: bool) -> list[ProcessingResponse]:
        if not released and not end:
            return []
        if self._is_duplex:
            answers = self._held_headers() + send_pieces(self._kind, released, end=end)
        else:
            self._carried += released
            answers = self._answer_owed()
        if end and answers:
            note(answers[-1], self._facts)
        return answers

    def _stop(self, code: str, reason: str) -> list[ProcessingResponse]:
        self._outcome = code
        can_refuse = self._can_refuse
        last = self._hold.stop(code=code, reason=reason)
        if can_refuse:
            self._headers_answer = None
            self._owed_since_s = None
            answers = [refuse(_STATUS.get(code, UNREADABLE_STATUS), code, reason)]
        else:
            answers = self._pass(last, end=True)
        for answer in answers[-1:]:
            note(answer, {**self._facts, "blocked": True})
        return answers

    @property
    def _can_refuse(self) -> bool:
        """True while nothing of this side has passed, so that an answer may take its place."""
        return self._side == "request" or self._headers_answer is not None

    def _held_headers(self) -> list[ProcessingResponse]:
        held, self._headers_answer = self._headers_answer, None
        return [] if held is None else [held]

    def _answer_owed(self) -> list[ProcessingResponse]:
        if self._owed_since_s is None:
            return []
        self._owed_since_s = None
        body, self._carried = self._carried, b""
        return [replace_piece(self._kind, body)]
