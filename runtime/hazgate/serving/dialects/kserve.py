"""KServe's Open Inference Protocol, version 2, over HTTP.

One model of the bundle's name. Its input is `text`, BYTES [n]; its outputs are `unsafe`, P(unsafe)
of each text, FP32 [n], and `flagged`, BOOL [n].
"""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from hazgate import __version__
from hazgate.errors import HazgateError, InputError
from hazgate.serving.failures import failure_of
from hazgate.serving.service import Service
from hazgate.verdict import Verdict


class InferInput(BaseModel):
    """A tensor that came."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferOutput(BaseModel):
    """A tensor that is wanted."""

    model_config = ConfigDict(extra="ignore")

    name: str


class InferRequest(BaseModel):
    """What KServe's clients send."""

    model_config = ConfigDict(extra="ignore")

    id: str | None = None
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[InferOutput] | None = None


_OUTPUTS = {"unsafe": "FP32", "flagged": "BOOL"}


def router(service: Service) -> APIRouter:
    """`/v2` and what is below it."""
    routes = APIRouter(tags=["KServe"], prefix="/v2")

    def name() -> str:
        return service.gate.batcher.gate.model.bundle

    def known(model: str) -> Response | None:
        if model == name():
            return None
        return JSONResponse({"error": f"no such model; this server has {name()}"}, 404)

    @routes.get("", summary="The server")
    async def server() -> dict[str, Any]:
        return {"name": "hazgate", "version": __version__, "extensions": []}

    @routes.get("/health/live", summary="Is the server alive?")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @routes.get("/health/ready", summary="Is the server ready?")
    async def ready() -> Response:
        is_ready = service.health.ready
        return JSONResponse({"ready": is_ready, "live": True}, 200 if is_ready else 503)

    @routes.get("/models/{model}", summary="The model's tensors")
    async def metadata(model: str) -> Response:
        return known(model) or JSONResponse(
            {
                "name": name(),
                "versions": [],
                "platform": "onnx_onnxv1",
                "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
                "outputs": [
                    {"name": output, "datatype": kind, "shape": [-1]}
                    for output, kind in _OUTPUTS.items()
                ],
            }
        )

    @routes.get("/models/{model}/ready", summary="Is the model ready?")
    async def model_ready(model: str) -> Response:
        is_ready = service.health.ready
        return known(model) or JSONResponse(
            {"name": name(), "ready": is_ready}, 200 if is_ready else 503
        )

    @routes.post("/models/{model}/infer", summary="Inference")
    async def infer(model: str, body: InferRequest, request: Request) -> Response:
        missing = known(model)
        if missing is not None:
            return missing
        try:
            texts, wanted = _texts(body.inputs), _wanted(body.outputs)
            verdicts = await service.check(texts, route="kserve", caller=request.state.caller)
        except HazgateError as error:
            failure = failure_of(error)
            return JSONResponse({"error": failure.message}, failure.status, failure.headers)
        answer = {
            "model_name": name(),
            "outputs": [_tensor(output, verdicts) for output in wanted],
        }
        return JSONResponse(answer if body.id is None else {**answer, "id": body.id})

    return routes


def _texts(inputs: list[InferInput]) -> list[str]:
    if len(inputs) != 1 or inputs[0].name != "text" or inputs[0].datatype != "BYTES":
        raise InputError("expected one input, text of datatype BYTES")
    (given,) = inputs
    texts = [item for row in given.data for item in (row if isinstance(row, list) else [row])]
    n_elements = 1
    for size in given.shape:
        n_elements *= size
    if n_elements != len(texts):
        raise InputError(f"shape {given.shape} has {n_elements} elements, data has {len(texts)}")
    return texts


def _wanted(outputs: list[InferOutput] | None) -> list[str]:
    if outputs is None:
        return list(_OUTPUTS)
    unknown = [output.name for output in outputs if output.name not in _OUTPUTS]
    if unknown:
        raise InputError(f"{len(unknown)} unknown outputs; there are {', '.join(_OUTPUTS)}")
    return [output.name for output in outputs]


def _tensor(name: str, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "name": name,
        "shape": [len(verdicts)],
        "datatype": _OUTPUTS[name],
        "data": [getattr(verdict, name) for verdict in verdicts],
    }
