"""KServe's Open Inference Protocol, version 2, over gRPC; the same tensors as over HTTP.

Source: https://github.com/kserve/open-inference-protocol, `inference.GRPCInferenceService`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc.aio
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceServicer

from hazgate import __version__
from hazgate.errors import HazgateError, InputError
from hazgate.serving import open_inference as oip
from hazgate.serving.queue.ask import Ask
from hazgate.serving.rpc.callers import caller_of, timeout_of
from hazgate.serving.rpc.failures import status_of
from hazgate.serving.service import Service
from hazgate.serving.side_loop import is_much


class OpenInference(GRPCInferenceServiceServicer):
    """The inference service, with one model that has the bundle's name."""

    def __init__(self, service: Service, *, keyed: bool) -> None:
        """Answer by the verdicts of `service`; `keyed` as of `caller_of`."""
        self._service = service
        self._keyed = keyed

    async def ServerLive(
        self, request: protocol.ServerLiveRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ServerLiveResponse:
        """Answer as `/health/live`."""
        return protocol.ServerLiveResponse(live=self._service.live)

    async def ServerReady(
        self, request: protocol.ServerReadyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ServerReadyResponse:
        """Answer as `/health/ready`."""
        return protocol.ServerReadyResponse(ready=await self._service.ready())

    async def ModelReady(
        self, request: protocol.ModelReadyRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ModelReadyResponse:
        """Answer as `ServerReady`, for the one model that there is."""
        await self._check_model(request.name, context)
        return protocol.ModelReadyResponse(ready=await self._service.ready())

    async def ServerMetadata(
        self, request: protocol.ServerMetadataRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ServerMetadataResponse:
        """Return name and version."""
        return protocol.ServerMetadataResponse(name=oip.SERVER, version=__version__)

    async def ModelMetadata(
        self, request: protocol.ModelMetadataRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ModelMetadataResponse:
        """Describe the model's tensors."""
        await self._check_model(request.name, context)
        tensor = protocol.ModelMetadataResponse.TensorMetadata
        return protocol.ModelMetadataResponse(
            name=self._name,
            platform=oip.PLATFORM,
            inputs=[tensor(**described) for described in oip.input_tensors()],
            outputs=[tensor(**described) for described in oip.output_tensors(self._service.judge)],
        )

    async def ModelInfer(
        self, request: protocol.ModelInferRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> protocol.ModelInferResponse:
        """Return verdicts, in raw contents as Triton sends them."""
        await self._check_model(request.model_name, context)
        caller, left_s = caller_of(context, keyed=self._keyed), timeout_of(context)
        n_items = max((len(given.contents.bytes_contents) for given in request.inputs), default=0)
        try:
            return await self._service.aside(
                lambda: self._infer(request, caller, left_s),
                # The size of many items takes a while, too.
                is_heavy=is_much(n_bytes=0, n_items=n_items) or is_much(n_bytes=request.ByteSize()),
            )
        except HazgateError as error:
            await context.abort(*status_of(error))

    async def _infer(
        self, request: protocol.ModelInferRequest, caller: str, left_s: float
    ) -> protocol.ModelInferResponse:
        asked_s = oip.timeout_of_parameters(_values(request.parameters))
        for subject, tensors in (("an input", request.inputs), ("an output", request.outputs)):
            for tensor in tensors:
                oip.check_tensor_parameters(subject, _values(tensor.parameters))
        judge = self._service.judge
        wanted = oip.wanted_outputs([output.name for output in request.outputs], judge)
        ask = Ask(
            texts=_texts(request),
            whole=oip.reads_whole(wanted),
            caller=caller,
            timeout_s=min(asked_s, left_s),
        )
        answers = await self._service.answer(ask, route="kserve-grpc")
        return _answer(self._name, request.id, oip.outputs_of(wanted, answers, judge))

    @property
    def _name(self) -> str:
        return self._service.model.bundle

    async def _check_model(self, name: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if name != self._name:
            await context.abort(grpc.StatusCode.NOT_FOUND, oip.unknown_model(self._name))


def _values(parameters: Mapping[str, protocol.InferParameter]) -> dict[str, object]:
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "", None)
        for name, value in parameters.items()
    }


def _texts(request: protocol.ModelInferRequest) -> list[str]:
    oip.check_input([(given.name, given.datatype) for given in request.inputs])
    (given,) = request.inputs
    if request.raw_input_contents:
        if len(request.raw_input_contents) != 1 or given.contents.bytes_contents:
            raise InputError("expected the one input's contents once, raw or as bytes_contents")
        return oip.texts_of_raw(request.raw_input_contents[0], given.shape)
    return oip.texts_of_elements(list(given.contents.bytes_contents), given.shape)


def _answer(
    model: str, request_id: str, outputs: Sequence[oip.OutputTensor]
) -> protocol.ModelInferResponse:
    tensor = protocol.ModelInferResponse.InferOutputTensor
    return protocol.ModelInferResponse(
        model_name=model,
        id=request_id,
        outputs=[
            tensor(name=output.name, datatype=output.datatype, shape=output.shape)
            for output in outputs
        ],
        raw_output_contents=[output.raw for output in outputs],
    )
