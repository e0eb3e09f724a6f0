"""Envoy's external processing: what is asked is read before the model, what it answers after.

Source: envoy.service.ext_proc.v3. Bodies must come whole (`BUFFERED`): of a streamed one the
beginning would have passed before its end was read. In `observability_mode`, where Envoy does not
wait for answers, streamed bodies are put together and counted. Without a verdict the stream fails,
so that Envoy's own `failure_mode_allow` decides; a text that cannot be read is refused.
"""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
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
from hazgate.serving.blocking import rule
from hazgate.serving.http.bodies import texts_of_request, texts_of_response
from hazgate.serving.rpc.callers import caller_of
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service

_METADATA = "hazgate"
_BLOCKED, _UNREADABLE = 403, 400
_WHOLE = (ProcessingMode.NONE, ProcessingMode.BUFFERED, ProcessingMode.BUFFERED_PARTIAL)
_READERS: dict[str, Callable[[bytes], list[str]]] = {
    "request_body": texts_of_request,
    "response_body": texts_of_response,
}


class Processor(ExternalProcessorServicer):  # type: ignore[misc] # generated, untyped
    """One stream an HTTP exchange, one answer a message."""

    def __init__(self, service: Service) -> None:
        """Answers by `service`."""
        self._service = service

    async def Process(
        self,
        request_iterator: AsyncIterator[ProcessingRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[ProcessingResponse]:
        """Answers each message of an exchange."""
        caller = caller_of(context)
        # Bodies that Envoy said it would send whole; those have no end of their own if trailers
        # follow.
        buffered: set[str] = set()
        # Of an exchange that Envoy does not hold up, what came so far.
        parts: defaultdict[str, bytearray] = defaultdict(bytearray)
        async for message in request_iterator:
            try:
                if message.observability_mode:
                    await self._watch(message, parts, caller)
                else:
                    buffered |= _whole_bodies(message)
                    yield await self._answer(message, buffered, caller)
            except HazgateError as error:
                await context.abort(*status_of(error))

    async def _answer(
        self, message: ProcessingRequest, buffered: AbstractSet[str], caller: str
    ) -> ProcessingResponse:
        """What Envoy is to do with a part of the exchange.

        Raises:
            HazgateError: there is no verdict, or bodies come in a mode that cannot be guarded.
        """
        kind = message.WhichOneof("request")
        if kind in ("request_headers", "response_headers"):
            return _pass_headers(kind)
        if kind in ("request_trailers", "response_trailers"):
            return ProcessingResponse(**{kind: TrailersResponse()})
        if kind not in _READERS:
            raise InputError("the message is of no kind that is known here")
        body: HttpBody = getattr(message, kind)
        try:
            texts = _texts(kind, body, is_whole=body.end_of_stream or kind in buffered)
            ruling = await rule(self._service, texts, route="ext_proc", caller=caller)
        except InputError as error:
            return _refuse(_UNREADABLE, "invalid_input", str(error))
        if ruling.reason is not None:
            answer = _refuse(_BLOCKED, "blocked", ruling.reason)
        else:
            common = CommonResponse(header_mutation=_set(ruling.headers))
            answer = ProcessingResponse(**{kind: BodyResponse(response=common)})
        answer.dynamic_metadata.update({_METADATA: ruling.metadata})
        return answer

    async def _watch(
        self, message: ProcessingRequest, parts: Mapping[str, bytearray], caller: str
    ) -> None:
        """Reads a body once it is whole; nobody waits for what is found."""
        kind = message.WhichOneof("request")
        if kind not in _READERS:
            return
        body: HttpBody = getattr(message, kind)
        part = parts[kind]
        part += body.body
        if len(part) > self._service.settings.request.max_body_bytes:
            raise InputError("the body is longer than max_body_bytes")
        if body.end_of_stream:
            texts = _READERS[kind](bytes(part))
            await rule(self._service, texts, route="ext_proc", caller=caller)


def _texts(kind: str, body: HttpBody, *, is_whole: bool) -> list[str]:
    if not is_whole:
        raise InputError("the body was cut before it came here; let Envoy buffer more")
    return _READERS[kind](body.body)


def _whole_bodies(message: ProcessingRequest) -> set[str]:
    """The bodies that Envoy will send whole, as it says with its first message.

    Raises:
        InputError: it will send some piece by piece, or none at all.
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
            f"bodies come {names['request_body']} and {names['response_body']}; at least one must "
            "come BUFFERED, and none in pieces: its beginning would pass before its end is read"
        )
    return {kind for kind, name in names.items() if name == "BUFFERED"}


def _pass_headers(kind: str) -> ProcessingResponse:
    common = CommonResponse()
    if kind == "request_headers":
        # A compressed answer could not be read.
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
            body=json.dumps({"error": {"code": code, "message": message}}).encode(),
            details=f"hazgate_{code}",
        )
    )
