"""Envoy's external authorization over HTTP: 200 lets a request pass, anything else denies it.

Envoy sends the original method and path behind a prefix, and the body if `with_request_body` asks
for it. A body that Envoy cut (`x-envoy-auth-partial-body`) cannot be read whole, so it is denied.
"""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from hazgate.serving.blocking import decide_blocking
from hazgate.serving.envoy import BLOCKED_STATUS, check_whole
from hazgate.serving.failures import error_body
from hazgate.serving.http.bodies import texts_asked
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service

PREFIX = "/ext_authz"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]


def router(service: Service) -> APIRouter:
    """Return the routes for every path behind /ext_authz."""
    routes = APIRouter(tags=["Envoy"])

    @routes.api_route(
        f"{PREFIX}/{{path:path}}",
        methods=_METHODS,
        include_in_schema=False,
        summary="Envoy's ext_authz over HTTP",
    )
    async def authorize(request: Request) -> Response:
        body = await request.body()
        check_whole(request.headers)
        texts = texts_asked(request.method, body)
        ask = Ask(texts=texts, caller=request.state.caller)
        decision = await decide_blocking(service, ask, route="ext_authz")
        if decision.reason is None:
            return Response(status_code=200, headers=decision.headers)
        return JSONResponse(error_body("blocked", decision.reason), BLOCKED_STATUS)

    return routes
