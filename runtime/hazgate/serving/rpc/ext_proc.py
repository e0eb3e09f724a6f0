"""Envoy's external processing: reads the request before the model, and the response after it.

Source: envoy.service.ext_proc.v3. Bodies must come whole (`BUFFERED`): the beginning of a streamed
body would pass before its end was read. In `observability_mode`, in which Envoy does not wait for
answers, streamed bodies are joined and their verdicts counted. Without a verdict the stream fails,
so that Envoy's own `failure_mode_allow` decides. A text that cannot be read is always refused.
"""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import grpc.aio
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HttpBody,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import ExternalProcessorServicer
from envoy.type.v3.http_status_pb2 import HttpStatus

from hazgate.errors import HazgateError, InputError
from hazgate.judging.speech import Side
from hazgate.serving.blocking import BlockDecision, decide_blocking
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.read import read_body, read_request
from hazgate.serving.envoy import BLOCKED_STATUS, UNREADABLE_STATUS
from hazgate.serving.failures import error_body
from hazgate.serving.rpc.callers import caller_of
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service

_METADATA = "hazgate"
_WHOLE = (ProcessingMode.NONE, ProcessingMode.BUFFERED, ProcessingMode.BUFFERED_PARTIAL)
_SIDES: Mapping[str, Side] = {"request_body": "request", "response_body": "response"}
_HEADERS: Mapping[str, Side] = {"request_headers": "request", "response_headers": "response"}


class Processor(ExternalProcessorServicer):  # type: ignore[misc] # generated, untyped
    """The ExternalProcessor service: one stream per HTTP exchange, one answer per message."""

    def __init__(self, service: Service) -> None:
        """Answer by the verdicts of `service`."""
        self._service = service

    async def Process(
        self,
        request_iterator: AsyncIterator[ProcessingRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[ProcessingResponse]:
        """Answer each message of an exchange."""
        caller = caller_of(context)
        # Bodies that Envoy said it would send whole; they have no end marker if trailers follow.
        buffered: set[str] = set()
        # The parts so far of bodies in an exchange that Envoy does not hold up.
        parts: defaultdict[str, bytearray] = defaultdict(bytearray)
        headers: dict[Side, Mapping[str, str]] = {}
        async for message in request_iterator:
            try:
                _note_headers(message, headers)
                if message.observability_mode:
                    await self._watch(message, parts, headers, caller)
                else:
                    buffered |= _whole_bodies(message)
                    yield await self._answer(message, buffered, headers, caller)
            except HazgateError as error:
                await context.abort(*status_of(error))

    async def _answer(
        self,
        message: ProcessingRequest,
        buffered: AbstractSet[str],
        headers: Mapping[Side, Mapping[str, str]],
        caller: str,
    ) -> ProcessingResponse:
        """Return what Envoy should do with a part of the exchange.

        Raises:
            HazgateError: there is no verdict, or the message is of an unknown kind.
        """
        kind = message.WhichOneof("request")
        if kind in ("request_trailers", "response_trailers"):
            return ProcessingResponse(**{kind: TrailersResponse()})
        if kind not in _SIDES and kind not in _HEADERS:
            raise InputError("the message is of an unknown kind")
        try:
            read = _read(message, headers, is_whole=kind in buffered)
            # Headers have a text only where their path has a query.
            decision = (
                await decide_blocking(
                    self._service,
                    read,
                    route="ext_proc",
                    caller=caller,
                    side=_SIDES.get(kind, "request"),
                )
                if read.passages or kind in _SIDES
                else BlockDecision()
            )
        except InputError as error:
            return _refuse(UNREADABLE_STATUS, "invalid_input", str(error))
        if decision.reason is not None:
            answer = _refuse(BLOCKED_STATUS, "blocked", decision.reason)
        elif kind in _HEADERS:
            return _pass_headers(kind)
        else:
            common = CommonResponse(header_mutation=_set(decision.headers))
            answer = ProcessingResponse(**{kind: BodyResponse(response=common)})
        answer.dynamic_metadata.update({_METADATA: decision.metadata})
        return answer

    async def _watch(
        self,
        message: ProcessingRequest,
        parts: Mapping[str, bytearray],
        headers: Mapping[Side, Mapping[str, str]],
        caller: str,
    ) -> None:
        """Read a body once it is whole, for the metrics; nobody waits for the decision."""
        kind = message.WhichOneof("request")
        if kind not in _SIDES:
            return
        body: HttpBody = getattr(message, kind)
        part = parts[kind]
        part += body.body
        if len(part) > self._service.settings.request.max_body_bytes:
            raise InputError("the body is longer than max_body_bytes")
        if body.end_of_stream:
            read = read_body(headers.get(_SIDES[kind], {}), bytes(part), _SIDES[kind])
            await decide_blocking(
                self._service, read, route="ext_proc", caller=caller, side=_SIDES[kind]
            )


def _read(
    message: ProcessingRequest, headers: Mapping[Side, Mapping[str, str]], *, is_whole: bool
) -> BodyText:
    """Read what one message says: the query of a request's path, or a body.

    Raises:
        InputError: Envoy cut the body, or it cannot be read.
    """
    kind = message.WhichOneof("request")
    if kind == "request_headers":
        asked = headers["request"]
        return read_request("GET", asked.get(":path", ""), asked, b"")
    if kind == "response_headers":
        return BodyText()
    body: HttpBody = getattr(message, kind)
    if not (body.end_of_stream or is_whole):
        raise InputError("Envoy cut the body; let it buffer more")
    return read_body(headers.get(_SIDES[kind], {}), body.body, _SIDES[kind])


def _note_headers(message: ProcessingRequest, headers: dict[Side, Mapping[str, str]]) -> None:
    """Keep the headers of an exchange, names in lower case, for the reading of its bodies."""
    kind = message.WhichOneof("request")
    if kind in _HEADERS:
        headers[_HEADERS[kind]] = {
            header.key.lower(): header.raw_value.decode("utf-8", "replace") or header.value
            for header in getattr(message, kind).headers.headers
        }


def _whole_bodies(message: ProcessingRequest) -> set[str]:
    """Return the bodies that Envoy will send whole, as its first message says.

    Raises:
        InputError: it will send a body piece by piece, or no body at all.
    """
    if not message.HasField("protocol_config"):
        return set()
    config = message.protocol_config
    modes = {
        "request_body": config.request_body_mode,
        "response_body": config.response_body_mode,
    }
    names = {kind: ProcessingMode.BodySendMode.Name(mode) for kind, mode in modes.items()}
    if any(mode not in _WHOLE for mode in modes.values()) or set(names.values()) == {"NONE"}:
        raise InputError(
            f"body modes are {names['request_body']} and {names['response_body']}; set at least "
            "one to BUFFERED and none to a streamed mode: its beginning would pass before its end "
            "is read"
        )
    return {kind for kind, name in names.items() if name == "BUFFERED"}


def _pass_headers(kind: str) -> ProcessingResponse:
    common = CommonResponse()
    if kind == "request_headers":
        # A compressed response could not be read.
        common.header_mutation.remove_headers.append("accept-encoding")
    return ProcessingResponse(**{kind: HeadersResponse(response=common)})


def _set(headers: dict[str, str]) -> HeaderMutation:
    return HeaderMutation(
        set_headers=[
            HeaderValueOption(header=HeaderValue(key=name, raw_value=value.encode()))
            for name, value in headers.items()
        ]
    )


def _refuse(status: int, code: str, message: str) -> ProcessingResponse:
    return ProcessingResponse(
        immediate_response=ImmediateResponse(
            status=HttpStatus(code=status),
            headers=_set({"content-type": "application/json"}),
            body=json.dumps(error_body(code, message)).encode(),
            details=f"hazgate_{code}",
        )
    )
