"""KServe's Open Inference Protocol, version 2, over gRPC; tensors as over HTTP.

Source: https://github.com/kserve/open-inference-protocol, `inference.GRPCInferenceService`.
"""

from typing import Any

import grpc.aio
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceServicer

from hazgate import __version__
from hazgate.errors import HazgateError, InputError
from hazgate.judging.verdict import Verdict
from hazgate.serving import open_inference as oip
from hazgate.serving.rpc.callers import caller_of, timeout_of
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service


class OpenInference(GRPCInferenceServiceServicer):
    """One model of the bundle's name."""

    def __init__(self, service: Service) -> None:
        """Answers by `service`."""
        self._service = service

    async def ServerLive(
        self, request: protocol.ServerLiveRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ServerLiveResponse:
        """Alive while it answers."""
        return protocol.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: protocol.ServerReadyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ServerReadyResponse:
        """As `/health/ready`."""
        return protocol.ServerReadyResponse(ready=self._service.health.ready)

    async def ModelReady(
        self, request: protocol.ModelReadyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ModelReadyResponse:
        """As the server, for the one model that there is."""
        await self._check_model(request.name, context)
        return protocol.ModelReadyResponse(ready=self._service.health.ready)

    async def ServerMetadata(
        self, request: protocol.ServerMetadataRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ServerMetadataResponse:
        """Name and version."""
        return protocol.ServerMetadataResponse(name="hazgate", version=__version__)

    async def ModelMetadata(
        self, request: protocol.ModelMetadataRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ModelMetadataResponse:
        """The model's tensors."""
        await self._check_model(request.name, context)
        tensor = protocol.ModelMetadataResponse.TensorMetadata
        return protocol.ModelMetadataResponse(
            name=self._name,
            platform=oip.PLATFORM,
            inputs=[tensor(name=oip.INPUT, datatype=oip.INPUT_DATATYPE, shape=[-1])],
            outputs=[
                tensor(name=name, datatype=kind, shape=[-1]) for name, kind in oip.OUTPUTS.items()
            ],
        )

    async def ModelInfer(
        self, request: protocol.ModelInferRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ModelInferResponse:
        """Verdicts, in raw contents as Triton sends them."""
        await self._check_model(request.model_name, context)
        try:
            texts = _texts(request)
            wanted = oip.wanted_outputs([output.name for output in request.outputs])
            verdicts = await self._service.check(
                texts,
                route="kserve-grpc",
                caller=caller_of(context),
                timeout_s=timeout_of(context),
            )
        except HazgateError as error:
            await context.abort(*status_of(error))
        return _answer(self._name, request.id, wanted, verdicts)

    @property
    def _name(self) -> str:
        return self._service.engine.batcher.gate.model.bundle

    async def _check_model(self, name: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if name != self._name:
            words = f"no such model; this server has {self._name}"
            await context.abort(grpc.StatusCode.NOT_FOUND, words)


def _texts(request: protocol.ModelInferRequest) -> list[str]:
    oip.check_input([(given.name, given.datatype) for given in request.inputs])
    (given,) = request.inputs
    if request.raw_input_contents:
        if len(request.raw_input_contents) != 1 or given.contents.bytes_contents:
            raise InputError("expected the one input's contents once, raw or as bytes_contents")
        elements = oip.elements_of_raw(request.raw_input_contents[0])
    else:
        elements = list(given.contents.bytes_contents)
    return oip.texts_of_elements(elements, given.shape)


def _answer(
    model: str, request_id: str, wanted: list[str], verdicts: list[Verdict]
) -> protocol.ModelInferResponse:
    tensor = protocol.ModelInferResponse.InferOutputTensor
    return protocol.ModelInferResponse(
        model_name=model,
        id=request_id,
        outputs=[
            tensor(name=name, datatype=oip.OUTPUTS[name], shape=[len(verdicts)]) for name in wanted
        ],
        raw_output_contents=[oip.raw_of_output(name, verdicts) for name in wanted],
    )
