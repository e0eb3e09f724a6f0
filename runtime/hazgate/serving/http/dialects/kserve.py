"""KServe's Open Inference Protocol, version 2, over HTTP, with Triton's binary tensor extension.

The model's tensors are those of hazgate.serving.open_inference. By default, Triton's clients send
and expect binary tensors: they follow the JSON, and a header has the JSON's length.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hazgate import __version__
from hazgate.errors import InputError
from hazgate.serving import open_inference as oip
from hazgate.serving.failures import FailureAnswer
from hazgate.serving.http.dialects.refusals import described
from hazgate.serving.http.error_forms import ErrorAnswer, ErrorForm
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service

_HEAD_LENGTH = "inference-header-content-length"


class TensorParameters(BaseModel):
    """Parameters of the binary extension, for a tensor; others are refused by name."""

    model_config = ConfigDict(extra="allow")

    binary_data_size: int | None = Field(default=None, ge=0)
    binary_data: bool | None = None


class RequestParameters(BaseModel):
    """Parameters of a request: the form of all outputs, and microseconds to answer in.

    Others are refused by name.
    """

    model_config = ConfigDict(extra="allow")

    binary_data_output: bool = False
    timeout: int | None = Field(default=None, ge=0)


class InferInput(BaseModel):
    """An input tensor."""

    model_config = ConfigDict(extra="forbid")

    name: str
    shape: list[int]
    datatype: str
    data: list[str | list[str]] | None = None
    parameters: TensorParameters = TensorParameters()


class InferOutput(BaseModel):
    """A requested output tensor."""

    model_config = ConfigDict(extra="forbid")

    name: str
    parameters: TensorParameters = TensorParameters()


class InferRequest(BaseModel):
    """The request of KServe's clients."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[InferOutput] = []
    parameters: RequestParameters = RequestParameters()


class InferError(BaseModel):
    """The error answer of KServe's servers."""

    error: str


def error_answer(failure: FailureAnswer) -> ErrorAnswer:
    """Return an error as KServe's clients read it: one sentence."""
    status = 400 if failure.status == 422 else failure.status
    return ErrorAnswer(status=status, body={"error": failure.message}, headers=failure.headers)


# Triton's client cannot show an error that is no string.
ERRORS = ErrorForm(paths=("/v2",), answer=error_answer, segment="v2")


def router(service: Service) -> APIRouter:
    """Return the routes of `/v2`."""
    refusals = described(InferError, 400, 401, 404, 408, 413, 500, 503, 504)
    routes = APIRouter(tags=["KServe"], prefix="/v2", responses=refusals)

    def name() -> str:
        return service.model.bundle

    def known(model: str) -> Response | None:
        if model == name():
            return None
        return JSONResponse({"error": oip.unknown_model(name())}, 404)

    @routes.get("", summary="Name, version and extensions of the server")
    async def server() -> dict[str, Any]:
        return {"name": oip.SERVER, "version": __version__, "extensions": ["binary_tensor_data"]}

    @routes.get("/health/live", summary="Liveness of the server")
    async def live() -> Response:
        return JSONResponse({"live": service.live}, 200 if service.live else 503)

    @routes.get("/health/ready", summary="Readiness of the server")
    async def ready() -> Response:
        is_ready = await service.ready()
        return JSONResponse({"ready": is_ready, "live": service.live}, 200 if is_ready else 503)

    @routes.get("/models/{model}", summary="Names, types and shapes of the model's tensors")
    async def metadata(model: str) -> Response:
        return known(model) or JSONResponse(
            {
                "name": name(),
                "versions": [],
                "platform": oip.PLATFORM,
                "inputs": oip.input_tensors(),
                "outputs": oip.output_tensors(service.judge),
            }
        )

    @routes.get("/models/{model}/ready", summary="Readiness of the model")
    async def model_ready(model: str) -> Response:
        is_ready = await service.ready()
        return known(model) or JSONResponse(
            {"name": name(), "ready": is_ready}, 200 if is_ready else 503
        )

    @routes.post(
        "/models/{model}/infer",
        summary="Verdicts on the texts of a tensor",
        openapi_extra=_request_body(InferRequest),
    )
    async def infer(model: str, request: Request) -> Response:
        missing = known(model)
        if missing is not None:
            return missing
        asked, binary = _split(await request.body(), request.headers.get(_HEAD_LENGTH))
        timeout_s = oip.timeout_of_parameters(_sent(asked.parameters))
        for given in asked.inputs:
            oip.check_tensor_parameters("an input", _sent(given.parameters))
        for output in asked.outputs:
            oip.check_tensor_parameters("an output", _sent(output.parameters))
        texts = _texts(asked, binary)
        judge = service.judge
        wanted = oip.wanted_outputs([output.name for output in asked.outputs], judge)
        ask = Ask(
            texts=texts,
            whole=oip.reads_whole(wanted),
            caller=request.state.caller,
            timeout_s=timeout_s,
        )
        answers = await service.answer(ask, route="kserve")
        return _answer(name(), asked, oip.outputs_of(wanted, answers, judge))

    return routes


def _request_body(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a model as an OpenAPI body; FastAPI only does so for bodies that it parses."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs")

    def inlined(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).removeprefix("#/$defs/")
            own = {key: inlined(item) for key, item in value.items() if key != "$ref"}
            return {**inlined(definitions[name]), **own} if name else own
        return [inlined(item) for item in value] if isinstance(value, list) else value

    content = {"application/json": {"schema": inlined(schema)}}
    return {"requestBody": {"required": True, "content": content}}


def _split(body: bytes, head_length: str | None) -> tuple[InferRequest, bytes]:
    """Return the JSON of a body, and the bytes after it.

    Raises:
        InputError: the header is not a length within the body, or the JSON is not a request.
    """
    n_head = len(body)
    if head_length is not None:
        # Python refuses to read a number of thousands of digits.
        digits = head_length.isascii() and head_length.isdecimal() and len(head_length) < 16
        if not digits or int(head_length) > len(body):
            raise InputError(f"{_HEAD_LENGTH} must be a length within the body")
        n_head = int(head_length)
    try:
        return InferRequest.model_validate_json(body[:n_head]), body[n_head:]
    except ValidationError as error:
        problems = (
            f"{'.'.join(_place(item)) or 'body'}: {item['type']}"
            for item in error.errors(include_url=False, include_input=False)[:20]
        )
        raise InputError("; ".join(problems)) from None


def _place(item: Mapping[str, Any]) -> list[str]:
    """Return where a body is wrong, without the name of an unknown field: it is user text."""
    known = item["loc"][:-1] if item["type"] == "extra_forbidden" else item["loc"]
    return [str(part) for part in known]


def _sent(parameters: BaseModel) -> dict[str, Any]:
    """Return the parameters that the request has, and none of the defaults."""
    return parameters.model_dump(exclude_unset=True)


def _texts(asked: InferRequest, binary: bytes) -> list[str]:
    oip.check_input([(given.name, given.datatype) for given in asked.inputs])
    (given,) = asked.inputs
    size = given.parameters.binary_data_size
    if size is None:
        rows = given.data or []
        elements = [item for row in rows for item in (row if isinstance(row, list) else [row])]
        return oip.texts_of_elements(elements, given.shape)
    if given.data is not None or size != len(binary):
        raise InputError(
            f"expected binary_data_size bytes ({size}) after the JSON and no data, got "
            f"{len(binary)} bytes{'' if given.data is None else ' and data'}"
        )
    return oip.texts_of_raw(binary, given.shape)


def _answer(model: str, asked: InferRequest, outputs: Sequence[oip.OutputTensor]) -> Response:
    in_binary = {output.name: output.parameters.binary_data for output in asked.outputs}
    tensors: list[Mapping[str, Any]] = []
    raw = b""
    for output in outputs:
        tensor = {"name": output.name, "shape": output.shape, "datatype": output.datatype}
        chosen = in_binary.get(output.name)
        if asked.parameters.binary_data_output if chosen is None else chosen:
            own = output.raw
            tensors.append({**tensor, "parameters": {"binary_data_size": len(own)}})
            raw += own
        else:
            tensors.append({**tensor, "data": output.values})
    answer: dict[str, Any] = {"model_name": model, "outputs": tensors}
    if asked.id is not None:
        answer["id"] = asked.id
    if not raw:
        return JSONResponse(answer)
    head = json.dumps(answer).encode()
    headers = {_HEAD_LENGTH: str(len(head))}
    return Response(head + raw, headers=headers, media_type="application/octet-stream")
