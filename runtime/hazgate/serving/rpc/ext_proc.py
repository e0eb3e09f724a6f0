"""Envoy's external processing: reads the request before the model, and the response after it.

Source: envoy.service.ext_proc.v3. A body comes whole (`BUFFERED`), or piece by piece (`STREAMED`,
`FULL_DUPLEX_STREAMED`): then it is held back and released as far as it was judged, see
`ext_proc_streams`. In `observability_mode`, in which Envoy does not wait for answers, streamed
bodies are joined and their verdicts counted. Without a verdict the stream fails, so that Envoy's
own `failure_mode_allow` decides. A text that cannot be read is always refused.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import grpc.aio
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorServicer

from hazgate.errors import HazgateError, InputError
from hazgate.judging.speech import Side
from hazgate.serving.blocking import BlockDecision, decide_blocking
from hazgate.serving.bodies.pairs import questions_of
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.read import read_body, read_request
from hazgate.serving.envoy import BLOCKED_STATUS, UNREADABLE_STATUS, joined_headers
from hazgate.serving.rpc.callers import caller_of
from hazgate.serving.rpc.ext_proc_answers import note, pass_body, pass_headers, refuse
from hazgate.serving.rpc.ext_proc_streams import StreamedBody
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service
from hazgate.serving.side_loop import is_much

_SIDES: Mapping[str, Side] = {"request_body": "request", "response_body": "response"}
_HEADERS: Mapping[str, Side] = {"request_headers": "request", "response_headers": "response"}
_TRAILERS: Mapping[str, Side] = {"request_trailers": "request", "response_trailers": "response"}
_STREAMED = ("STREAMED", "FULL_DUPLEX_STREAMED")
_KNOWN = ("NONE", "BUFFERED", "BUFFERED_PARTIAL", *_STREAMED)


class Processor(ExternalProcessorServicer):  # type: ignore[misc] # generated, untyped
    """The ExternalProcessor service: one stream per HTTP exchange."""

    def __init__(self, service: Service, *, keyed: bool) -> None:
        """Answer by the verdicts of `service`; `keyed` as of `caller_of`."""
        self._service = service
        self._keyed = keyed

    async def Process(
        self,
        request_iterator: AsyncIterator[ProcessingRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[ProcessingResponse]:
        """Answer the messages of an exchange."""
        exchange = _Exchange(self._service, caller_of(context, keyed=self._keyed))
        messages = aiter(request_iterator)
        coming: asyncio.Future[ProcessingRequest | None] | None = None
        n_bytes = 0
        try:
            while True:
                coming = coming or asyncio.ensure_future(anext(messages, None))
                await asyncio.wait({coming}, timeout=exchange.left_s)
                if not coming.done():
                    answers = await exchange.tick()
                else:
                    message, coming = coming.result(), None
                    if message is None:
                        return
                    # What came before may be read with it, once a body is whole.
                    n_bytes += message.ByteSize()
                    answers = await self._service.aside(
                        partial(exchange.answer, message), is_heavy=is_much(n_bytes=n_bytes)
                    )
                for answer in answers:
                    yield answer
        except HazgateError as error:
            await context.abort(*status_of(error))
        finally:
            if coming is not None:
                coming.cancel()
            exchange.close()


class _Exchange:
    """One request and its response."""

    def __init__(self, service: Service, caller: str) -> None:
        self._service = service
        self._caller = caller
        # How Envoy said it would send each body. One that is sent whole has no end marker if
        # trailers follow.
        self._modes: dict[Side, str] = {}
        self._streams: dict[Side, StreamedBody] = {}
        # The parts so far of bodies in an exchange that Envoy does not hold up.
        self._parts: defaultdict[str, bytearray] = defaultdict(bytearray)
        self._headers: dict[Side, Mapping[str, str]] = {}
        # The last user turns of the request, once it was read.
        self._questions: tuple[str, ...] = ()

    @property
    def left_s(self) -> float | None:
        """Seconds until `tick` has something to do; None if only a message can change it."""
        due_s = min((body.due_s for body in self._streams.values()), default=math.inf)
        return None if due_s == math.inf else max(0.0, due_s - time.monotonic())

    async def tick(self) -> list[ProcessingResponse]:
        now_s = time.monotonic()
        answers: list[ProcessingResponse] = []
        for body in self._streams.values():
            if body.due_s <= now_s:
                answers += await body.tick()
        return answers

    def close(self) -> None:
        for body in self._streams.values():
            body.close()

    async def answer(self, message: ProcessingRequest) -> list[ProcessingResponse]:
        """Return what Envoy should do with a part of the exchange.

        Raises:
            HazgateError: there is no verdict, or the message is of an unknown kind.
        """
        kind = message.WhichOneof("request")
        self._note_headers(message, kind)
        if message.observability_mode:
            await self._watch(message, kind)
            return []
        try:
            # Before anything passes unread: headers have no text of their own.
            self._service.require_verdicts()
        except InputError as error:
            return [refuse(UNREADABLE_STATUS, "invalid_input", str(error))]
        if message.HasField("protocol_config"):
            self._modes = _modes_of(message, pair=self._service.settings.policy.pair)
        if kind in _TRAILERS:
            stream = self._streams.get(_TRAILERS[kind])
            if stream is not None:
                return await stream.end(kind)
            return [ProcessingResponse(**{kind: TrailersResponse()})]
        if kind in _HEADERS:
            return await self._answer_headers(message, kind)
        if kind not in _SIDES:
            raise InputError("the message is of an unknown kind")
        if self._modes.get(_SIDES[kind]) in _STREAMED:
            # Envoy may be set to keep the headers to itself.
            stream = self._streams.get(_SIDES[kind]) or self._begin(_SIDES[kind])
            return await stream.feed(getattr(message, kind))
        return [await self._answer_whole(message, kind)]

    def _begin(self, side: Side) -> StreamedBody:
        self._streams[side] = stream = StreamedBody(
            self._service,
            side=side,
            headers=self._headers.get(side, {}),
            is_duplex=self._modes[side] == "FULL_DUPLEX_STREAMED",
            decide=self._decide,
        )
        return stream

    async def _answer_headers(
        self, message: ProcessingRequest, kind: str
    ) -> list[ProcessingResponse]:
        side = _HEADERS[kind]
        is_streamed = (
            self._modes.get(side) in _STREAMED and not getattr(message, kind).end_of_stream
        )
        if side == "request":
            # Headers have a text only where their path has a query.
            asked = self._headers["request"]
            try:
                read = read_request("GET", asked.get(":path", ""), asked, b"")
                decision = await self._decide(read, side) if read.passages else BlockDecision()
            except InputError as error:
                return [refuse(UNREADABLE_STATUS, "invalid_input", str(error))]
            if decision.reason is not None:
                return [_blocked(decision)]
        answer = pass_headers(kind, is_streamed=is_streamed)
        if not is_streamed:
            return [answer]
        return self._begin(side).hold_headers(answer)

    async def _answer_whole(self, message: ProcessingRequest, kind: str) -> ProcessingResponse:
        side = _SIDES[kind]
        body: HttpBody = getattr(message, kind)
        if not (body.end_of_stream or self._modes.get(side) == "BUFFERED"):
            cure = "Envoy cut the body; let it buffer more"
            return refuse(UNREADABLE_STATUS, "invalid_input", cure)
        try:
            decision = await self._decide(
                read_body(self._headers.get(side, {}), body.body, side), side
            )
        except InputError as error:
            return refuse(UNREADABLE_STATUS, "invalid_input", str(error))
        if decision.reason is not None:
            return _blocked(decision)
        answer = pass_body(kind, decision.headers)
        note(answer, decision.metadata)
        return answer

    async def _decide(self, read: BodyText, side: Side) -> BlockDecision:
        """Decide on a body, or on a part of a streamed one; a request's question is kept."""
        if side == "request":
            self._questions = questions_of(read) or self._questions
        return await decide_blocking(
            self._service,
            read,
            route="ext_proc",
            caller=self._caller,
            side=side,
            questions=self._questions if side == "response" else (),
        )

    async def _watch(self, message: ProcessingRequest, kind: str) -> None:
        """Read a body once it is whole, for the metrics; nobody waits for the decision."""
        if kind not in _SIDES:
            return
        body: HttpBody = getattr(message, kind)
        part = self._parts[kind]
        part += body.body
        if len(part) > self._service.settings.request.max_body_bytes:
            raise InputError("the body is longer than max_body_bytes")
        if body.end_of_stream:
            side = _SIDES[kind]
            await self._decide(read_body(self._headers.get(side, {}), bytes(part), side), side)

    def _note_headers(self, message: ProcessingRequest, kind: str) -> None:
        """Keep the headers of an exchange, names in lower case, for the reading of its bodies."""
        if kind in _HEADERS:
            self._headers[_HEADERS[kind]] = joined_headers(
                (header.key, header.raw_value.decode("utf-8", "replace") or header.value)
                for header in getattr(message, kind).headers.headers
            )


def _blocked(decision: BlockDecision) -> ProcessingResponse:
    answer = refuse(BLOCKED_STATUS, "blocked", decision.reason or "")
    note(answer, decision.metadata)
    return answer


def _modes_of(message: ProcessingRequest, *, pair: bool) -> dict[Side, str]:
    """Return how Envoy will send each body, as its first message says.

    Raises:
        InputError: it will send no body at all, or in a mode that is unknown; or it keeps the
            request, beside which the response is to be judged.
    """
    config = message.protocol_config
    name = ProcessingMode.BodySendMode.Name
    modes: dict[Side, str] = {
        "request": name(config.request_body_mode),
        "response": name(config.response_body_mode),
    }
    if set(modes.values()) == {"NONE"} or any(mode not in _KNOWN for mode in modes.values()):
        raise InputError(
            f"body modes are {modes['request']} and {modes['response']}; set at least one to "
            "BUFFERED or FULL_DUPLEX_STREAMED"
        )
    if pair and modes["request"] == "NONE":
        raise InputError(
            "request_body_mode is NONE, and policy.pair judges responses beside their requests; "
            "set it to BUFFERED or FULL_DUPLEX_STREAMED"
        )
    return modes
