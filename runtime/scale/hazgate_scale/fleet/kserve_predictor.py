"""A predictor on KServe's SDK: a gate behind KServe's server, v2 over HTTP and gRPC.

The tensors are those of hazgate.serving.open_inference, as in `hazgate serve`.
Source: https://kserve.github.io/website/docs/model-serving/predictive-inference/frameworks/custom-predictor.
"""

import asyncio
import contextlib
import logging
import struct
import traceback
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from grpc_interceptor.exceptions import GrpcException
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput
from kserve.model_server import app as kserve_app
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from prometheus_client import REGISTRY

from hazgate.documents.problems import list_problems
from hazgate.errors import BundleError, HazgateError, InputError
from hazgate.serving import open_inference as oip
from hazgate.serving.failures import failure_of
from hazgate.serving.http.edge import Edge, edge_limits
from hazgate.serving.keys import ApiKey, KeyRing, bearer_digest, read_api_keys
from hazgate.serving.metered import metered_service
from hazgate.serving.metrics import Metrics
from hazgate.serving.queue.ask import Ask
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service
from hazgate.serving.settings import ServeSettings
from hazgate_scale.fleet.opening import open_named


class Predictor(Model):  # type: ignore[misc] # has no type information
    """A model of KServe's server."""

    def __init__(self, name: str, service: Service, *, keyed: bool) -> None:
        """Answer through `service`, which is warm; `keyed` if only known keys come in."""
        super().__init__(name)
        self._service = service
        self._keyed = keyed
        # KServe's server registers only ready models; from then on it asks `healthy`.
        self.ready = True

    async def healthy(self) -> bool:
        """Answer readiness; without it, KServe's server forwards no request.

        A failed engine is tried again here, because no request would reach it otherwise.
        """
        return await self._service.ready()

    def stop(self) -> None:
        """Report not ready; accepted requests are still answered."""
        self._service.health.draining = True
        super().stop()

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe the input for the model's metadata."""
        return oip.input_tensors()

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe the outputs for the model's metadata."""
        return oip.output_tensors(self._service.judge)

    async def predict(
        self, payload: object, headers: Mapping[str, str] | None = None
    ) -> InferResponse:
        """Return verdicts on the texts of one v2 request.

        Raises:
            HazgateError: over HTTP, there is no verdict, or the request is v1.
            GrpcException: over gRPC, there is no verdict.
        """
        if not isinstance(payload, InferRequest):
            raise InputError(f"this model speaks v2: POST /v2/models/{self.name}/infer")
        try:
            # Without keys, a token is whatever the caller chose.
            caller = _caller(headers or {}) if self._keyed else ""
            judge = self._service.judge
            named = [each.name for each in payload.request_outputs or ()]
            wanted = oip.wanted_outputs(named, judge)
            ask = Ask(texts=_texts(payload), whole=oip.reads_whole(wanted), caller=caller)
            route = "kserve-grpc" if payload.from_grpc else "kserve"
            answers = await self._service.answer(ask, route=route)
        except HazgateError as error:
            if not payload.from_grpc:
                raise
            code, message = status_of(error)
            raise GrpcException(status_code=code, details=message) from None
        return InferResponse(
            # KServe's server does not send an answer without an id.
            response_id=payload.id or uuid.uuid4().hex,
            model_name=self.name,
            infer_outputs=[
                InferOutput(
                    name=output.name,
                    shape=output.shape,
                    datatype=output.datatype,
                    data=output.values,
                )
                for output in oip.outputs_of(wanted, answers, judge)
            ],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


class OneModel(ModelRepositoryExtension):  # type: ignore[misc] # has no type information
    """The model repository of a server that has one model for as long as it runs.

    KServe's own lets anybody who may ask the model unload it, over HTTP and gRPC.
    """

    async def load(self, model_name: str) -> None:
        """Refuse to load a model.

        Raises:
            InvalidInput: always.
        """
        del model_name
        raise InvalidInput("this server loads no model: start another one")

    async def unload(self, model_name: str) -> None:
        """Refuse to unload the model.

        Raises:
            InvalidInput: always.
        """
        del model_name
        raise InvalidInput("this server unloads no model: end it instead")


def run(
    bundle: Path, settings: ServeSettings, *, digest: str | None = None, name: str | None = None
) -> None:
    """Serve until stopped; SIGTERM answers accepted requests and ends.

    Args:
        bundle: a bundle directory.
        settings: settings of `hazgate serve`; the server listens on all addresses.
        digest: required digest of the bundle; None takes any.
        name: name of the model; None takes the bundle's.

    Raises:
        BundleError: the settings, bundle, policy or keys cannot be served.
    """
    problems = list(_misplaced(settings))
    if problems:
        raise BundleError(f"the settings are not for KServe's server:{list_problems(problems)}")
    keys = read_api_keys(Path(settings.api_keys_file)) if settings.api_keys_file else ()
    gate = open_named(bundle, digest, settings)
    metrics = Metrics()
    service = metered_service(gate, settings, metrics)
    # asyncio.run would remove the loop that KServe's server expects in this thread.
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(service.warm())
    REGISTRY.register(metrics.registry)
    kserve_app.add_exception_handler(HazgateError, _on_error)
    kserve_app.add_exception_handler(RequestValidationError, _on_invalid)
    logging.getLogger("kserve").addFilter(_without_words)
    kserve_app.add_middleware(
        Edge,
        limits=edge_limits(settings),
        keys=KeyRing([ApiKey(digest=digest) for digest in keys]),
    )
    server = ModelServer(
        http_port=settings.port,
        grpc_port=settings.grpc_port,
        enable_grpc=settings.grpc_port is not None,
        workers=1,
        grace_period=int(settings.drain_timeout_s) + 1,
        enable_latency_logging=settings.log_requests,
    )
    server.model_repository_extension = OneModel(server.registered_models)
    server.start([Predictor(name or gate.model.bundle, service, keyed=bool(keys))])
    service.engine.close(settings.drain_timeout_s)


def _misplaced(settings: ServeSettings) -> Iterator[str]:
    default = ServeSettings()
    if settings.host != default.host:
        yield "$.host: KServe's server listens on all addresses; leave it out"
    if settings.workers != 1:
        yield "$.workers: replicas scale instead; leave it out"
    if settings.tls is not None:
        yield "$.tls: the mesh or the ingress ends TLS; leave it out"
    if settings.traces:
        yield "$.traces: KServe's server sends no traces; leave it out"
    if settings.fail_open:
        yield "$.fail_open: v2 has no answer that lets a text pass; leave it out"
    if settings.api_keys_file is not None and settings.grpc_port is not None:
        yield "$.api_keys_file: KServe's gRPC checks no keys; leave it or grpc_port out"


def _texts(payload: InferRequest) -> list[str]:
    oip.check_input([(given.name, given.datatype) for given in payload.inputs])
    (given,) = payload.inputs
    try:
        elements = given.as_numpy().ravel().tolist()
    except (ValueError, TypeError, struct.error, InvalidInput):
        raise InputError(f"the contents of {oip.INPUT} do not fill its shape") from None
    return oip.texts_of_elements(elements, given.shape)


def _caller(headers: Mapping[str, str]) -> str:
    """Identify the caller by its key, if any; KServe gives a model no address."""
    digest = bearer_digest(headers.get("authorization", ""))
    return "" if digest is None else digest.hex()


async def _on_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HazgateError)
    failure = failure_of(error)
    return JSONResponse({"error": failure.message}, failure.status, failure.headers)


async def _on_invalid(_: Request, error: Exception) -> Response:
    """Answer where a body is wrong and what was expected, without repeating any of it."""
    assert isinstance(error, RequestValidationError)
    problems = (f"{'.'.join(map(str, item['loc']))}: {item['type']}" for item in error.errors())
    return JSONResponse({"error": "; ".join(problems)}, 400)


def _without_words(record: logging.LogRecord) -> bool:
    """Strip an exception's message from a log record, keeping its type and place.

    KServe's server logs messages that may hold an element of the caller's tensor.
    """
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        frames = "".join(traceback.format_tb(error.__traceback__))
        record.msg, record.args = "%s\n%s", (type(error).__name__, frames)
        record.exc_info = record.exc_text = None
    return True
