"""The gRPC server: all services over one engine, in the event loop of the HTTP server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import grpc.aio
from envoy.service.auth.v3.external_auth_pb2_grpc import add_AuthorizationServicer_to_server
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import (
    add_ExternalProcessorServicer_to_server,
)
from grpc_health.v1 import health_pb2, health_pb2_grpc
from open_inference.grpc.service import add_GRPCInferenceServiceServicer_to_server

from hazgate.errors import BundleError
from hazgate.serving.health import PROBE_INTERVAL_S
from hazgate.serving.keys import KeyRing
from hazgate.serving.rpc.call_limits import CallLimits
from hazgate.serving.rpc.callers import KeyCheck
from hazgate.serving.rpc.ext_authz import Authorization
from hazgate.serving.rpc.ext_proc import Processor
from hazgate.serving.rpc.kserve import OpenInference
from hazgate.serving.service import Service
from hazgate.serving.tls import check_certificate, pem_pair

# Room for calls that are refused, and for probes.
_CALLS_TO_REFUSE = 128
_HANDSHAKE_MS = 10_000
# A connection without calls is closed, and so is one whose client does not answer pings.
_IDLE_MS = 300_000
_KEEP_ALIVE_MS = 60_000


class HealthProbe(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # generated, untyped
    """The health service of Kubernetes and load balancers; answers as `/health/ready`."""

    def __init__(self, service: Service) -> None:
        """Answer by the health of `service`."""
        self._service = service

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """Return the state of the whole server, for any service name."""
        return await self._answer()

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Yield the state of the whole server now, and whenever it changes."""
        told = None
        while True:
            answer = await self._answer()
            if answer != told:
                yield answer
                told = answer
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _answer(self) -> health_pb2.HealthCheckResponse:
        status = health_pb2.HealthCheckResponse
        ready = await self._service.ready()
        return status(status=status.SERVING if ready else status.NOT_SERVING)


async def start(service: Service, keys: KeyRing) -> grpc.aio.Server:
    """Start a server on the host and port of the settings; its owner must stop it.

    Args:
        service: answers, and has the settings.
        keys: the API keys that are accepted.

    Raises:
        BundleError: the address cannot be used, or the certificate or key cannot be read.
    """
    settings = service.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    keyed = keys.needed
    server = grpc.aio.server(
        # `CallLimits` counts a call once its message has come; this counts it from its head on.
        maximum_concurrent_rpcs=settings.max_calls + settings.max_streams + _CALLS_TO_REFUSE,
        interceptors=[
            *([KeyCheck(keys)] if keyed else []),
            CallLimits(max_calls=settings.max_calls, max_streams=settings.max_streams, keys=keys),
        ],
        options=[
            ("grpc.max_receive_message_length", settings.request.max_body_bytes),
            ("grpc.max_allowed_incoming_connections", settings.max_connections),
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
            ("grpc.max_connection_idle_ms", _IDLE_MS),
            ("grpc.keepalive_time_ms", _KEEP_ALIVE_MS),
            ("grpc.keepalive_timeout_ms", _KEEP_ALIVE_MS),
        ],
    )
    add_GRPCInferenceServiceServicer_to_server(OpenInference(service, keyed=keyed), server)
    add_AuthorizationServicer_to_server(Authorization(service, keyed=keyed), server)
    add_ExternalProcessorServicer_to_server(Processor(service, keyed=keyed), server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthProbe(service), server)
    try:
        if settings.tls is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, _credentials(service))
    except RuntimeError as error:
        raise BundleError(f"gRPC cannot listen on {address}: {error}") from error
    await server.start()
    return server


def _credentials(service: Service) -> grpc.ServerCredentials:
    """Return credentials that look for the certificate of the settings at each handshake.

    Raises:
        BundleError: certificate and key cannot be read, or do not belong together.
    """
    assert service.settings.tls is not None
    shown = service.settings.tls
    check_certificate(shown)

    def renewed() -> "grpc.ServerCertificateConfiguration | None":
        nonlocal shown
        now = service.settings.tls
        # None keeps the one that is shown.
        if now is None or now is shown:
            return None
        shown = now
        return grpc.ssl_server_certificate_configuration([pem_pair(now)])

    first = grpc.ssl_server_certificate_configuration([pem_pair(shown)])
    # None is allowed, see its documentation; the types of grpc do not say so.
    return grpc.dynamic_ssl_server_credentials(first, cast("Any", renewed))
