"""Envoy's external authorization over HTTP: 200 lets a request pass, anything else denies it.

Envoy sends the original method and path behind a prefix, and the body if `with_request_body` asks
for it. A body that Envoy cut (`x-envoy-auth-partial-body`) cannot be read whole, so it is denied.
"""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from hazgate.serving.blocking import decide_blocking
from hazgate.serving.bodies.read import read_request
from hazgate.serving.envoy import BLOCKED_STATUS, check_whole, joined_headers, with_upgrade
from hazgate.serving.failures import error_body
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
        target = request.url.path.removeprefix(PREFIX)
        if request.url.query:
            target = f"{target}?{request.url.query}"
        headers = joined_headers(request.headers.items())
        check_whole(headers)
        upgrades = service.settings.ext_authz_upgrades
        read = read_request(request.method, target, headers, body, upgrades=upgrades)
        decision = await decide_blocking(
            service, read, route="ext_authz", caller=request.state.caller
        )
        if decision.reason is None:
            return Response(status_code=200, headers=with_upgrade(decision.headers, headers))
        return JSONResponse(error_body("blocked", decision.reason), BLOCKED_STATUS)

    return routes
