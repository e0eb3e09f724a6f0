"""Envoy's answers of external processing: pass, replace, refuse."""

import json
from collections.abc import Mapping

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ImmediateResponse,
    ProcessingResponse,
    StreamedBodyResponse,
)
from envoy.type.v3.http_status_pb2 import HttpStatus

from hazgate.serving.failures import error_body

Facts = Mapping[str, bool | float | str | list[str]]

_METADATA = "hazgate"
# Envoy's own advice for the pieces of a body.
_MAX_PIECE_BYTES = 1 << 16


def pass_headers(kind: str, *, is_streamed: bool = False) -> ProcessingResponse:
    """Let the headers of a request or a response pass."""
    common = CommonResponse()
    if kind == "request_headers":
        # A compressed response could not be read.
        common.header_mutation.remove_headers.append("accept-encoding")
    elif is_streamed:
        # A response that is stopped is shorter than it said.
        common.header_mutation.remove_headers.append("content-length")
    return ProcessingResponse(**{kind: HeadersResponse(response=common)})


def pass_body(kind: str, headers: Mapping[str, str]) -> ProcessingResponse:
    """Let a whole body pass, with headers that say more about it."""
    common = CommonResponse(header_mutation=_set(headers))
    return ProcessingResponse(**{kind: BodyResponse(response=common)})


def replace_piece(kind: str, body: bytes) -> ProcessingResponse:
    """Put `body` in the place of the piece that Envoy waits for (STREAMED)."""
    mutation = BodyMutation(body=body) if body else BodyMutation(clear_body=True)
    common = CommonResponse(body_mutation=mutation)
    return ProcessingResponse(**{kind: BodyResponse(response=common)})


def send_pieces(kind: str, body: bytes, *, end: bool) -> list[ProcessingResponse]:
    """Send on more of a body (FULL_DUPLEX_STREAMED); with `end` the last of it."""
    starts = range(0, len(body), _MAX_PIECE_BYTES)
    pieces = [body[start : start + _MAX_PIECE_BYTES] for start in starts]
    if end and not pieces:
        pieces = [b""]
    answers = []
    for i, piece in enumerate(pieces):
        last = end and i == len(pieces) - 1
        streamed = StreamedBodyResponse(body=piece, end_of_stream=last)
        common = CommonResponse(body_mutation=BodyMutation(streamed_response=streamed))
        answers.append(ProcessingResponse(**{kind: BodyResponse(response=common)}))
    return answers


def refuse(status: int, code: str, message: str) -> ProcessingResponse:
    """Answer the client at once, in the place of the model."""
    return ProcessingResponse(
        immediate_response=ImmediateResponse(
            status=HttpStatus(code=status),
            headers=_set({"content-type": "application/json"}),
            body=json.dumps(error_body(code, message)).encode(),
            details=f"hazgate_{code}",
        )
    )


def note(answer: ProcessingResponse, facts: Facts) -> None:
    """Add facts that Envoy can log to an answer."""
    answer.dynamic_metadata.update({_METADATA: dict(facts)})


def _set(headers: Mapping[str, str]) -> HeaderMutation:
    return HeaderMutation(
        set_headers=[
            HeaderValueOption(header=HeaderValue(key=name, raw_value=value.encode()))
            for name, value in headers.items()
        ]
    )
