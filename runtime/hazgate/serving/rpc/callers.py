"""Who asks over gRPC: a known key, and whose turn it is in the queue."""

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

import grpc.aio

from hazgate.serving.http.keys import bearer_digest, is_known

_OPEN = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)
_Next = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]]


def caller_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """Whose turn it is: by key where there is one, else by address."""
    digest = bearer_digest(_authorization(context.invocation_metadata()))
    # "ipv4:127.0.0.1:53124": each connection has a port of its own.
    return digest.hex() if digest is not None else context.peer().rpartition(":")[0]


def timeout_of(context: grpc.aio.ServicerContext[Any, Any]) -> float:
    """Seconds until the caller gives up; infinite if it never does."""
    # Against its type, None where no deadline was given.
    left_s = cast("float | None", context.time_remaining())
    return math.inf if left_s is None else left_s


class KeyCheck(grpc.aio.ServerInterceptor):
    """Refuses calls without a known key; health may be asked by anyone."""

    def __init__(self, key_digests: Sequence[bytes]) -> None:
        """SHA-256 of each key."""
        self._key_digests = tuple(key_digests)

    async def intercept_service(
        self, continuation: _Next, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The method itself, or one of its kind that refuses."""
        handler = await continuation(handler_call_details)
        digest = bearer_digest(_authorization(handler_call_details.invocation_metadata))
        if handler is None or handler_call_details.method.startswith(_OPEN):
            return handler
        if is_known(digest, self._key_digests):
            return handler
        return _refusal(handler)


def _refusal(handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
    async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        words = "a known API key is needed as bearer token"
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, words)

    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.response_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(cast("Any", refuse), handler.request_deserializer, handler.response_serializer)


def _authorization(metadata: Iterable[tuple[str, str | bytes]] | None) -> str:
    for name, value in metadata or ():
        if name.lower() == "authorization" and isinstance(value, str):
            return value
    return ""
