"""Envoy's external authorization over HTTP: 200 lets a request pass, anything else denies it.

Envoy sends the original method and path behind a prefix, and the body if `with_request_body` asks
for it. A body that Envoy cut (`x-envoy-auth-partial-body`) was not read whole, so it is denied.
"""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from hazgate.conversation import parse_messages
from hazgate.errors import InputError
from hazgate.serving.dialects.ruling import rule
from hazgate.serving.service import Service

PREFIX = "/ext_authz"
_PARTIAL = "x-envoy-auth-partial-body"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
# Fields of the request bodies of LLM APIs that hold what a user wrote.
_TEXT_FIELDS = ("input", "prompt", "text", "inputs", "system", "instructions")


def router(service: Service) -> APIRouter:
    """Every path behind /ext_authz."""
    routes = APIRouter(tags=["Envoy"])

    @routes.api_route(
        f"{PREFIX}/{{path:path}}",
        methods=_METHODS,
        include_in_schema=False,
        summary="Envoy's ext_authz over HTTP",
    )
    async def authorize(request: Request) -> Response:
        body = await request.body()
        if request.headers.get(_PARTIAL, "").lower() == "true":
            raise InputError("the body was cut before it came here; raise max_request_bytes")
        texts = texts_of_body(body)
        ruling = await rule(service, texts, route="ext_authz", caller=request.state.caller)
        if ruling.reason is None:
            return Response(status_code=200, headers=ruling.headers)
        return JSONResponse({"error": {"code": "blocked", "message": ruling.reason}}, 403)

    return routes


def texts_of_body(body: bytes) -> list[str]:
    """What there is to read in a request body: of an LLM API's JSON its texts, else all of it.

    Raises:
        InputError: it is no UTF-8, or its messages cannot be read.
    """
    if not body.strip():
        return []
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("the body is not UTF-8 text") from None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    if not isinstance(data, dict):
        return [text]
    texts: list[str] = []
    if isinstance(data.get("messages"), list) and data["messages"]:
        texts += [message.content for message in parse_messages(data["messages"])]
    for name in _TEXT_FIELDS:
        texts += _strings(data.get(name))
    # A JSON body of another kind is text like any other.
    return texts or [text]


def _strings(value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    return []
