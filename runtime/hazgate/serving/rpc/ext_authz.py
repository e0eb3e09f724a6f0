"""Envoy's external authorization over gRPC, with the answers that ext_authz over HTTP gives.

Source: envoy.service.auth.v3. Without a verdict the call itself fails, so that Envoy's own
`failure_mode_allow` decides; a text that cannot be read is denied, whatever that says.
"""

import json
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
from hazgate.serving.blocking import rule
from hazgate.serving.http.bodies import texts_asked
from hazgate.serving.rpc.callers import caller_of, timeout_of
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service

_PARTIAL = "x-envoy-auth-partial-body"
_BLOCKED, _UNREADABLE = 403, 400


class Authorization(AuthorizationServicer):  # type: ignore[misc] # generated, untyped
    """Reads the body that `with_request_body` sends."""

    def __init__(self, service: Service) -> None:
        """Answers by `service`."""
        self._service = service

    async def Check(
        self, request: CheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> CheckResponse:
        """Whether a request may pass."""
        try:
            ruling = await rule(
                self._service,
                _texts(request.attributes.request.http),
                route="ext_authz",
                caller=caller_of(context),
                timeout_s=timeout_of(context),
            )
        except InputError as error:
            return _denied(_UNREADABLE, "invalid_input", str(error))
        except HazgateError as error:
            await context.abort(*status_of(error))
        if ruling.reason is not None:
            response = _denied(_BLOCKED, "blocked", ruling.reason)
        else:
            response = CheckResponse(
                status=Status(code=grpc.StatusCode.OK.value[0]),
                ok_response=OkHttpResponse(
                    headers=[
                        HeaderValueOption(header=HeaderValue(key=name, value=value))
                        for name, value in ruling.headers.items()
                    ]
                ),
            )
        response.dynamic_metadata.update(ruling.metadata)
        return response


def _texts(http: AttributeContext.HttpRequest) -> list[str]:
    if http.headers.get(_PARTIAL, "").lower() == "true":
        raise InputError("the body was cut before it came here; raise max_request_bytes")
    return texts_asked(http.method, http.raw_body or http.body.encode())


def _denied(status: int, code: str, message: str) -> CheckResponse:
    return CheckResponse(
        status=Status(code=grpc.StatusCode.PERMISSION_DENIED.value[0]),
        denied_response=DeniedHttpResponse(
            status=HttpStatus(code=status),
            headers=[
                HeaderValueOption(header=HeaderValue(key="content-type", value="application/json"))
            ],
            body=json.dumps({"error": {"code": code, "message": message}}),
        ),
    )
