"""The gRPC server: all services over one engine, in the event loop of the HTTP server."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

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
from hazgate.serving.rpc.call_limits import CallLimits
from hazgate.serving.rpc.callers import KeyCheck
from hazgate.serving.rpc.ext_authz import Authorization
from hazgate.serving.rpc.ext_proc import Processor
from hazgate.serving.rpc.kserve import OpenInference
from hazgate.serving.service import Service
from hazgate.serving.settings import TlsTable

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


async def start(service: Service, key_digests: Sequence[bytes]) -> grpc.aio.Server:
    """Start a server on the host and port of the settings; its owner must stop it.

    Args:
        service: answers, and has the settings.
        key_digests: SHA-256 of each API key that is accepted; if empty, no key is needed.

    Raises:
        BundleError: the address cannot be used, or the certificate or key cannot be read.
    """
    settings = service.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{host}:{settings.grpc_port}"
    keyed = bool(key_digests)
    server = grpc.aio.server(
        # `CallLimits` counts a call once its message has come; this counts it from its head on.
        maximum_concurrent_rpcs=settings.max_calls + settings.max_streams + _CALLS_TO_REFUSE,
        interceptors=[
            *([KeyCheck(key_digests)] if key_digests else []),
            CallLimits(max_calls=settings.max_calls, max_streams=settings.max_streams, keyed=keyed),
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
            server.add_secure_port(address, _credentials(settings.tls))
    except RuntimeError as error:
        raise BundleError(f"gRPC cannot listen on {address}: {error}") from error
    await server.start()
    return server


def _credentials(tls: TlsTable) -> grpc.ServerCredentials:
    try:
        key = Path(tls.key_file).read_bytes()
        chain = Path(tls.certificate_file).read_bytes()
    except OSError as error:
        raise BundleError(f"{error.filename} cannot be read: {error.strerror}") from error
    return grpc.ssl_server_credentials([(key, chain)])
