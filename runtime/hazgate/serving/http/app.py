"""The ASGI application: every dialect over one service, and the operators' endpoints."""

import asyncio
import dataclasses
import logging
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from hazgate import __version__
from hazgate.errors import HazgateError
from hazgate.gate import Gate
from hazgate.judge import Judge, level_of, levels_of
from hazgate.judging.policy import Policy
from hazgate.serving.failures import FailureAnswer, failure_of
from hazgate.serving.http.dialects import (
    agentgateway,
    azure,
    bedrock,
    classify,
    ext_authz,
    kserve,
    litellm,
    native,
    openai,
    tei,
    watch,
)
from hazgate.serving.http.edge import Edge, edge_limits
from hazgate.serving.http.error_forms import answer_in_form
from hazgate.serving.http.reload import Reload, Reloading
from hazgate.serving.keys import ApiKey, KeyRing
from hazgate.serving.metered import metered_service
from hazgate.serving.metrics import Metrics
from hazgate.serving.queue.timed_session import time_sessions
from hazgate.serving.service import Service
from hazgate.serving.settings import ServeSettings
from hazgate.serving.supervision import drain_first, replace_dead_engine

if TYPE_CHECKING:
    from hazgate.serving.tracing import Traces

_LOG = logging.getLogger("hazgate.serving")
_DIALECTS = (
    native,
    openai,
    classify,
    tei,
    kserve,
    litellm,
    agentgateway,
    bedrock,
    azure,
    ext_authz,
    watch,
)
# Dialects whose clients read errors in a form of their own.
_ERROR_FORMS = (openai.ERRORS, tei.ERRORS, kserve.ERRORS, bedrock.ERRORS, azure.ERRORS)

# Serves something else over the same service while the application runs.
Companion = Callable[[Service, KeyRing], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _nothing(_: Service, __: KeyRing) -> AsyncIterator[None]:
    yield


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """An application and its service, for those who supervise both."""

    app: ASGIApp
    service: Service


def create_app(
    gate: Judge,
    settings: ServeSettings,
    key_digests: Sequence[ApiKey | bytes] = (),
    reloading: Reloading | None = None,
    companion: Companion = _nothing,
) -> ASGIApp:
    """Create the application alone; see `create_served`."""
    return create_served(gate, settings, key_digests, reloading, companion).app


def create_served(
    gate: Judge,
    settings: ServeSettings,
    key_digests: Sequence[ApiKey | bytes] = (),
    reloading: Reloading | None = None,
    companion: Companion = _nothing,
) -> Served:
    """Create an application that answers by `gate`; its lifespan warms and drains the engine.

    Args:
        gate: an open gate, or a level that gives labels only.
        settings: limits and routes.
        key_digests: API keys, or SHA-256 of each, that are accepted; if empty, none is needed.
        reloading: reads everything again on SIGHUP; None leaves SIGHUP alone.
        companion: serves over the same service while the application runs, e.g. gRPC.
    """
    metrics = Metrics()
    traces = _traces() if settings.traces else None
    keys = KeyRing(key_digests)
    service = metered_service(gate, settings, metrics, [traces.add] if traces else [], keys)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.warm()
        reopen: Callable[[], Judge] | None = None
        if reloading is not None:
            reopen = partial(_reopened, reloading, service, metrics)
        if reloading is not None and reloading.by_signal:
            again = Reload(
                service=service,
                keys=keys,
                reloading=reloading,
                timed=lambda judge: time_sessions(judge, metrics.count_run),
                on_limits=edge.apply,
            )
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again.ask)
        drain_first(service)
        watch = asyncio.create_task(replace_dead_engine(service, reopen))
        async with companion(service, keys):
            yield
            service.health.draining = True
        watch.cancel()
        service.side_loop.close()
        await asyncio.to_thread(service.engine.close, settings.drain_timeout_s)
        if traces is not None:
            await asyncio.to_thread(traces.close)

    app = FastAPI(
        title="hazgate",
        version=__version__,
        description=f"Verdicts of the bundle `{gate.model.bundle}`, in the APIs of many gateways.",
        lifespan=lifespan,
    )
    for dialect in _DIALECTS:
        app.include_router(dialect.router(service))
    _add_operations(app, service, metrics)
    _add_playground(app)
    app.add_exception_handler(HazgateError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    edge = Edge(
        app,
        limits=edge_limits(settings),
        keys=keys,
        error_forms=_ERROR_FORMS,
        side_loop=service.side_loop,
    )
    return Served(app=traces.around(edge) if traces else edge, service=service)


def _traces() -> "Traces":
    # Its libraries come with `hazgate[otel]` only.
    from hazgate.serving.tracing import Traces

    return Traces()


def _reopened(reloading: Reloading, service: Service, metrics: Metrics) -> Judge:
    """Open what is served once more, as it was checked."""
    judge = reloading.open(service.settings, service.model.digest)
    return time_sessions(judge, metrics.count_run)


def _add_playground(app: FastAPI) -> None:
    page = (files("hazgate.serving.http") / "playground.html").read_bytes()
    # The page may ask this server only.
    policy = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"

    @app.get("/", include_in_schema=False)
    async def playground() -> Response:
        headers = {"content-security-policy": policy}
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)


def _add_operations(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/health/live", tags=["operations"], summary="Liveness: 503 once the engine is dead")
    async def live() -> Response:
        return JSONResponse({"live": service.live}, 200 if service.live else 503)

    @app.get(
        "/health/ready",
        tags=["operations"],
        summary="Readiness: 200 if requests may be sent here, else 503",
    )
    async def ready() -> Response:
        is_ready, health = await service.ready(), service.health
        body = {
            "ready": is_ready,
            "warmed": health.warmed,
            "failing": health.failing,
            "draining": health.draining,
        }
        return JSONResponse(body, 200 if is_ready else 503)

    @app.get("/info", tags=["operations"], summary="Bundle, variant, provider and policy in use")
    async def info() -> dict[str, object]:
        judge = service.judge
        model, level = judge.model, level_of(judge)
        gate = judge if isinstance(judge, Gate) else None
        return {
            "version": __version__,
            "bundle": model.bundle,
            "digest": model.digest,
            "variant": model.variant,
            "provider": model.provider,
            "level": level.level,
            "labels": list(level.labels),
            "threshold": gate.threshold if gate else None,
            "policy": _identity(gate.policy) if gate else None,
            "responses": _identity(gate.policy_for("response")) if gate else None,
            "pair": service.settings.policy.pair,
            "hazards": list(gate.hazards) if gate else [],
            "fail_open": list(service.settings.fail_open),
            "store": _store(service),
            "exits": _exits(service),
        }

    @app.get(
        "/metrics",
        tags=["operations"],
        summary="Metrics in Prometheus' text format",
        response_class=PlainTextResponse,
    )
    async def metrics_text() -> Response:
        metrics.set_waiting(service.engine.n_waiting)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def _store(service: Service) -> dict[str, object]:
    """Return the limits of the store of logits, and the levels for which it keeps any."""
    is_on = service.engine.store is not None
    kept = [level.level for level in levels_of(service.judge) if is_on and level.is_exact]
    return {**dataclasses.asdict(service.settings.store), "levels": kept}


def _exits(service: Service) -> dict[str, object] | None:
    """Return the claim of the early exits, and which rules' texts may leave; None without exits."""
    exits = level_of(service.judge).exits
    if exits is None:
        return None
    coverage = service.judge.coverage if isinstance(service.judge, Gate) else None
    return {
        "sha256": exits.digest,
        "claim": exits.exits.claim.in_words(),
        "on": exits.on,
        "coverage": None if coverage is None else dataclasses.asdict(coverage),
    }


def _identity(policy: Policy | None) -> dict[str, str] | None:
    return None if policy is None else {"name": policy.name, "digest": policy.digest}


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HazgateError)
    return _formed(request, failure_of(error))


async def _on_invalid(request: Request, error: Exception) -> Response:
    """Answer where a body is wrong and what was expected there; repeat nothing of it."""
    assert isinstance(error, RequestValidationError)
    items = error.errors()[:20]
    problems = [f"{'.'.join(_place(item))}: {_expected(item)}" for item in items]
    field = _place(items[0])[1:2]
    failure = FailureAnswer(
        status=422,
        code="invalid_request",
        message="; ".join(problems),
        param=field[0] if field and not field[0].isdecimal() else None,
    )
    return _formed(request, failure)


def _place(item: Mapping[str, Any]) -> list[str]:
    """Return where a body is wrong, without the name of an unknown field: it is user text."""
    known = item["loc"][:-1] if item["type"] == "extra_forbidden" else item["loc"]
    return [str(part) for part in known]


def _expected(item: Mapping[str, Any]) -> str:
    """Return what a field should hold: a validator's own sentence, else the type of the error."""
    return str(item["ctx"]["error"]) if item["type"] == "value_error" else str(item["type"])


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    failure = FailureAnswer(status=error.status_code, code="http", message=str(error.detail))
    return _formed(request, failure, error.headers)


def _formed(
    request: Request, failure: FailureAnswer, headers: Mapping[str, str] | None = None
) -> Response:
    formed = answer_in_form(_ERROR_FORMS, request.url.path, failure)
    return JSONResponse(formed.body, formed.status, {**formed.headers, **(headers or {})})
