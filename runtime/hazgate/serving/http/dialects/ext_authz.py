"""Envoy's external authorization over HTTP: 200 lets a request pass, anything else denies it.

Envoy sends the original method and path behind a prefix, and the body if `with_request_body` asks
for it. A body that Envoy cut (`x-envoy-auth-partial-body`) was not read whole, so it is denied.
"""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from hazgate.errors import InputError
from hazgate.serving.blocking import rule
from hazgate.serving.http.bodies import texts_asked
from hazgate.serving.service import Service

PREFIX = "/ext_authz"
_PARTIAL = "x-envoy-auth-partial-body"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


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
        texts = texts_asked(request.method, body)
        ruling = await rule(service, texts, route="ext_authz", caller=request.state.caller)
        if ruling.reason is None:
            return Response(status_code=200, headers=ruling.headers)
        return JSONResponse({"error": {"code": "blocked", "message": ruling.reason}}, 403)

    return routes
