"""Envoy's external authorization over gRPC; it answers like ext_authz over HTTP.

Source: envoy.service.auth.v3. Without a verdict the call itself fails, so that Envoy's own
`failure_mode_allow` decides. A text that cannot be read is always denied.
"""

import json
from collections.abc import Collection
from typing import Any

import grpc.aio
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from envoy.service.auth.v3.external_auth_pb2 import (
    CheckRequest,
    CheckResponse,
    DeniedHttpResponse,
    OkHttpResponse,
)
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationServicer
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.rpc.status_pb2 import Status

from hazgate.errors import HazgateError, InputError
from hazgate.serving.blocking import BlockDecision, decide_blocking
from hazgate.serving.bodies.passages import BodyText
from hazgate.serving.bodies.read import read_request
from hazgate.serving.envoy import (
    BLOCKED_STATUS,
    UNREADABLE_STATUS,
    check_whole,
    joined_headers,
    with_upgrade,
)
from hazgate.serving.failures import error_body
from hazgate.serving.rpc.callers import caller_of, timeout_of
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service
from hazgate.serving.side_loop import is_much


class Authorization(AuthorizationServicer):  # type: ignore[misc] # generated, untyped
    """The Authorization service; it reads the body that `with_request_body` sends."""

    def __init__(self, service: Service, *, keyed: bool) -> None:
        """Answer by the verdicts of `service`; `keyed` as of `caller_of`."""
        self._service = service
        self._keyed = keyed

    async def Check(
        self, request: CheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> CheckResponse:
        """Decide whether a request may pass."""
        caller, left_s = caller_of(context, keyed=self._keyed), timeout_of(context)
        http = request.attributes.request.http
        upgrades = self._service.settings.ext_authz_upgrades

        async def decide() -> BlockDecision:
            read = _read(http, upgrades)
            return await decide_blocking(
                self._service, read, route="ext_authz", caller=caller, timeout_s=left_s
            )

        try:
            decision = await self._service.aside(
                decide, is_heavy=is_much(n_bytes=request.ByteSize(), n_items=len(http.headers))
            )
        except InputError as error:
            return _denied(UNREADABLE_STATUS, "invalid_input", str(error))
        except HazgateError as error:
            await context.abort(*status_of(error))
        if decision.reason is not None:
            response = _denied(BLOCKED_STATUS, "blocked", decision.reason)
        else:
            response = CheckResponse(
                status=Status(code=grpc.StatusCode.OK.value[0]),
                ok_response=OkHttpResponse(
                    headers=[
                        HeaderValueOption(header=HeaderValue(key=name, value=value))
                        for name, value in with_upgrade(decision.headers, _headers(http)).items()
                    ]
                ),
            )
        response.dynamic_metadata.update(decision.metadata)
        return response


def _headers(http: AttributeContext.HttpRequest) -> dict[str, str]:
    """Return a request's headers, which are in `headers`, or raw in `header_map`."""
    raw = [
        (header.key, header.raw_value.decode("utf-8", "replace") or header.value)
        for header in http.header_map.headers
    ]
    return {**joined_headers(raw), **joined_headers(http.headers.items())}


def _read(http: AttributeContext.HttpRequest, upgrades: Collection[str]) -> BodyText:
    """Read a request that may change to one of the `upgrades`.

    Raises:
        InputError: the body was cut, or cannot be read.
    """
    headers = _headers(http)
    check_whole(headers)
    body = http.raw_body or http.body.encode()
    if http.size > 0 and http.size != len(body):
        raise InputError(
            "the body came with another size than it was sent with; set pack_as_bytes in Envoy's "
            "with_request_body"
        )
    # The headers are the original request's, so that this is not said of a body that Envoy kept.
    is_empty = headers.get("content-length") == "0" and "transfer-encoding" not in headers
    return read_request(
        http.method, http.path, headers, body, upgrades=upgrades, known_empty=is_empty
    )


def _denied(status: int, code: str, message: str) -> CheckResponse:
    return CheckResponse(
        status=Status(code=grpc.StatusCode.PERMISSION_DENIED.value[0]),
        denied_response=DeniedHttpResponse(
            status=HttpStatus(code=status),
            headers=[
                HeaderValueOption(header=HeaderValue(key="content-type", value="application/json"))
            ],
            body=json.dumps(error_body(code, message)),
        ),
    )
