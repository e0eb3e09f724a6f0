"""Callers over gRPC: their keys, their deadlines, and the names they queue under."""

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import grpc.aio

from hazgate.serving.keys import KEY_NEEDED, KeyRing, bearer_digest

# Calls that need no key, and that are no load.
PROBES = (
    "/grpc.health.v1.Health/",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
)
_Next = Callable[[grpc.HandlerCallDetails], Awaitable["grpc.RpcMethodHandler[Any, Any] | None"]]


def caller_of(context: grpc.aio.ServicerContext[Any, Any], *, keyed: bool) -> str:
    """Return the name a caller queues under: its key's digest, else its address.

    Args:
        context: the call.
        keyed: the server has keys, and lets only known ones in. Without, a token is whatever the
            caller chose: a new one for each call would be a new caller.
    """
    digest = bearer_digest(_authorization(context.invocation_metadata())) if keyed else None
    # "ipv4:127.0.0.1:53124": each connection has a port of its own.
    return digest.hex() if digest is not None else context.peer().rpartition(":")[0]


def timeout_of(context: grpc.aio.ServicerContext[Any, Any]) -> float:
    """Return the seconds until the caller gives up; infinite if it never does."""
    # None without a deadline, although its type says otherwise.
    left_s = cast("float | None", context.time_remaining())
    return math.inf if left_s is None else left_s


class KeyCheck(grpc.aio.ServerInterceptor):
    """An interceptor that refuses calls without a known key; health checks need none."""

    def __init__(self, keys: KeyRing) -> None:
        """Accept the keys of a ring, as it is when a call comes."""
        self._keys = keys

    async def intercept_service(
        self, continuation: _Next, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the method itself, or one of the same kind that refuses."""
        handler = await continuation(handler_call_details)
        digest = bearer_digest(_authorization(handler_call_details.invocation_metadata))
        if handler is None or handler_call_details.method.startswith(PROBES):
            return handler
        if self._keys.accepts(digest):
            return handler
        return _refusal(handler)


def _refusal(handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
    async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, KEY_NEEDED)

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
