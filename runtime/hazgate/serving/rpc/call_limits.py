"""Limits of open calls over gRPC, in all and by caller; one more is refused with its reason."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import grpc.aio

from hazgate.errors import Overloaded
from hazgate.serving.keys import KeyRing
from hazgate.serving.rpc.callers import PROBES, caller_of
from hazgate.serving.shares import Shares

_Context = grpc.aio.ServicerContext[Any, Any]
_Next = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]]
_WATCH = "/grpc.health.v1.Health/Watch"


class CallLimits(grpc.aio.ServerInterceptor):
    """An interceptor that counts open calls. Probes are not counted: they must be answered."""

    def __init__(self, *, max_calls: int, max_streams: int, keys: KeyRing) -> None:
        """Start without calls; each counts for its key in `keys`, too, with those over HTTP."""
        self._calls = Shares("open gRPC calls", most=max_calls, setting="max_calls")
        self._streams = Shares("open gRPC streams", most=max_streams, setting="max_streams")
        self._keys = keys
        self._keyed = keys.needed

    async def intercept_service(
        self, continuation: _Next, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the method with a count around it."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or (method.startswith(PROBES) and method != _WATCH):
            return handler
        if not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(
                cast("Any", self._counted(cast("Any", handler.unary_unary))),
                handler.request_deserializer,
                handler.response_serializer,
            )
        is_duplex = handler.request_streaming
        make = (
            grpc.stream_stream_rpc_method_handler
            if is_duplex
            else grpc.unary_stream_rpc_method_handler
        )
        stream = handler.stream_stream if is_duplex else handler.unary_stream
        return make(
            cast("Any", self._counted_stream(cast("Any", stream))),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _counted(
        self, answer: Callable[[Any, _Context], Awaitable[Any]]
    ) -> Callable[[Any, _Context], Awaitable[Any]]:
        async def counted(request: object, context: _Context) -> object:
            caller = await self._take(self._calls, context)
            try:
                return await answer(request, context)
            finally:
                self._give_back(self._calls, caller)

        return counted

    def _counted_stream(
        self, answer: Callable[[Any, _Context], AsyncIterator[Any]]
    ) -> Callable[[Any, _Context], AsyncIterator[Any]]:
        async def counted(request: object, context: _Context) -> AsyncIterator[Any]:
            caller = await self._take(self._streams, context)
            try:
                async for message in answer(request, context):
                    yield message
            finally:
                self._give_back(self._streams, caller)

        return counted

    async def _take(self, shares: Shares, context: _Context) -> str:
        caller = caller_of(context, keyed=self._keyed)
        over = self._keys.begin(caller)
        if over is not None:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, over)
        try:
            shares.take(caller)
        except Overloaded as error:
            self._keys.end(caller)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        return caller

    def _give_back(self, shares: Shares, caller: str) -> None:
        shares.give_back(caller)
        self._keys.end(caller)
