"""Start a server: from a bundle and settings to running processes."""

import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from hazgate.engine.buckets import parse_bucket
from hazgate.engine.options import EngineOptions, ExitOptions, Shapes
from hazgate.engine.processor import threads_per_run
from hazgate.errors import BundleError
from hazgate.gate import Gate
from hazgate.judge import Judge, no_verdicts, open_judge
from hazgate.judging.policy import Policy
from hazgate.serving.bodies.pairs import check_pairs
from hazgate.serving.http.app import create_app
from hazgate.serving.http.reload import Reloading
from hazgate.serving.keys import ApiKey, KeyRing
from hazgate.serving.logs import log_config
from hazgate.serving.metrics import MULTIPROCESS_FOLDER
from hazgate.serving.service import Service
from hazgate.serving.settings import ServeSettings
from hazgate.serving.source import (
    ServeInputs,
    ServeSource,
    check_digest,
    check_reloadable,
    check_tenants,
)
from hazgate.serving.tls import Certificate, check_certificate
from hazgate.text.reading import Reading

_LOG = logging.getLogger("hazgate.serving")

# A thread that tokenises or reads a body keeps the interpreter so long from the event loop, which
# wants it back after each call of the system: Python's own 5 ms add up in a request.
_SWITCH_INTERVAL_S = 0.0005
# A name, because worker processes import it themselves.
_BOUNDED_WEBSOCKET = "hazgate.serving.http.bounded_websocket:BoundedWebSocket"
_KEEP_ALIVE_S = 75
# HTTP and gRPC may each have as many; the rest is for those that are refused, and for files.
_FILES_PER_CONNECTION = 2
_OWN_FILES = 512


def open_served(bundle: Path, settings: ServeSettings, digest: str | None = None) -> Judge:
    """Open the bundle of the settings, with this worker's share of the processors.

    Args:
        bundle: the bundle's directory or reference.
        settings: of the engine, the limits and the policies.
        digest: the only bundle that may be opened; None allows any.

    Raises:
        BundleError: the bundle, or a policy, cannot be served; or it is another bundle; or a route
            fails open although the bundle gives no verdicts; or answers are to be paired and the
            bundle cannot say so.
    """
    engine, policy = settings.engine, settings.policy
    judge = open_judge(
        bundle,
        level=engine.level,
        engine=EngineOptions(
            variant=engine.variant,
            providers=engine.providers,
            device_id=engine.device_id,
            threads=threads_per_run(engine.threads, n_runs=settings.workers * engine.workers),
            workers=engine.workers,
            shapes=Shapes(
                buckets=tuple(map(parse_bucket, engine.buckets)) or None,
                programs=Path(engine.programs) if engine.programs else None,
            ),
            exits=ExitOptions(
                file=Path(engine.exits) if engine.exits else None, audit_share=engine.audit_share
            ),
        ),
        reading=Reading(
            max_text_tokens=settings.request.max_tokens,
            max_text_bytes=settings.request.max_body_bytes,
            views=settings.views,
            sentences_from_tokens=settings.sentences_from_tokens,
        ),
        policy=Policy.load(policy.file) if policy.file else None,
        shadow=Policy.load(policy.shadow) if policy.shadow else None,
        responses=Policy.load(policy.responses) if policy.responses else None,
    )
    check_digest(judge.model.digest, digest)
    if settings.policy.pair:
        if not isinstance(judge, Gate):
            raise BundleError(f"policy.pair: {no_verdicts(judge)}: leave pair out")
        check_pairs(judge.conversation, judge.model.bundle)
    if settings.fail_open and not isinstance(judge, Gate):
        raise BundleError(
            f"{no_verdicts(judge)}, and {', '.join(settings.fail_open)} would let every text pass: "
            "leave fail_open out"
        )
    return judge


def _open_and_tell(bundle: Path, settings: ServeSettings, digest: str | None) -> Judge:
    """Open the bundle as `open_served` does, and log what its early exits are good for."""
    judge = open_served(bundle, settings, digest)
    coverage = judge.coverage if isinstance(judge, Gate) else None
    if coverage is not None:
        missing = ", ".join(f"{each:.6g}" for each in coverage.missing) or "none"
        _LOG.log(
            logging.INFO if coverage.n_leaving else logging.WARNING,
            "early exits: texts may leave early under %d of %d rules; thresholds that were not "
            "calibrated: %s%s",
            coverage.n_leaving,
            coverage.n_rules,
            missing,
            "" if coverage.n_leaving else "; early exits are off",
        )
    return judge


def build_app(source: ServeSource, inputs: ServeInputs, certificate: Certificate) -> ASGIApp:
    """Build one process's application; arguments must pickle, for workers receive them.

    Args:
        source: what a reload reads again.
        inputs: what was read of it; all workers get the same.
        certificate: of HTTP, in this process.

    Raises:
        BundleError: the bundle or a policy cannot be served.
    """
    settings = inputs.settings
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if settings.tls is not None:
        certificate.make(settings.tls)
    reloading = Reloading(
        read=source.read,
        open=partial(_open_and_tell, source.bundle),
        certificate=certificate,
        # Workers are replaced as a whole.
        by_signal=settings.workers == 1,
    )
    judge = _open_and_tell(source.bundle, settings, inputs.digest)
    check_tenants(judge, inputs.keys)
    return create_app(judge, settings, inputs.keys, reloading, rpc_server)


@asynccontextmanager
async def rpc_server(
    service: Service, keys: KeyRing | Sequence[ApiKey | bytes]
) -> AsyncIterator[None]:
    """Answer gRPC until the end of the block, then drain; do nothing if no port is set.

    Raises:
        BundleError: the address cannot be used, or the certificate or key cannot be read.
    """
    settings = service.settings
    if settings.grpc_port is None:
        yield
        return
    # Its libraries come with `hazgate[grpc]` only.
    from hazgate.serving.rpc.endpoint import start

    server = await start(service, KeyRing.of(keys))
    try:
        yield
    finally:
        await server.stop(settings.drain_timeout_s)


def _protocol(settings: ServeSettings, certificate: Certificate) -> Any:  # noqa: ANN401 - uvicorn's type knows classes only
    """Return the protocol's class with its limit; it pickles, for worker processes receive it."""
    # Its library comes with `hazgate[serve]` on most platforms only.
    from hazgate.serving.http.bounded_http import BoundedHttp
    from hazgate.serving.http.handshake import Handshake

    most = settings.max_connections
    if settings.tls is not None:
        return partial(Handshake, certificate=certificate, max_connections=most)
    return partial(BoundedHttp, max_connections=most)


def _has_sansio() -> bool:
    """Return whether uvicorn has the protocol that `BoundedWebSocket` bounds."""
    return bool(
        find_spec("websockets") and find_spec("uvicorn.protocols.websockets.websockets_sansio_impl")
    )


def allow_files(n: int) -> None:
    """Raise this process's limit on open files to `n`, if the system allows that many.

    Raises:
        BundleError: it does not.
    """
    # Where it is missing, nothing limits files so.
    if find_spec("resource") is None:
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= n:
        return
    if hard != resource.RLIM_INFINITY and hard < n:
        raise BundleError(
            f"max_connections needs {n} open files, and the system allows {hard}: lower it, or "
            "raise the limit (ulimit -n, LimitNOFILE)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))


def run(source: ServeSource, inputs: ServeInputs) -> None:
    """Serve until told to stop: in this process, or in workers that share the mapped weights.

    A worker that dies is replaced. SIGTERM drains all workers. SIGHUP reads everything again: all
    workers take it over, or none.

    Args:
        source: what a reload reads again.
        inputs: what was read of it.

    Raises:
        BundleError: the address cannot be used, or the system allows too few open files.
    """
    settings = inputs.settings
    allow_files(_FILES_PER_CONNECTION * settings.max_connections + _OWN_FILES)
    config = _config(source, inputs)
    if settings.workers == 1:
        uvicorn.Server(config).run()
        return
    try:
        listening = config.bind_socket()
    except SystemExit as error:
        # uvicorn has logged the reason.
        raise BundleError(f"cannot listen on {settings.host}:{settings.port}") from error
    with tempfile.TemporaryDirectory(prefix="hazgate-metrics-") as folder:
        os.environ[MULTIPROCESS_FOLDER] = folder
        # Imported here because one process does not need it.
        from hazgate.serving.workers import Workers

        Workers(config, [listening], partial(_reread, source, settings)).run()


def _reread(source: ServeSource, settings: ServeSettings) -> uvicorn.Config:
    """Read everything again, for the next workers of a server that began with `settings`."""
    inputs = source.read()
    check_reloadable(settings, inputs.settings)
    if inputs.settings.tls is not None:
        check_certificate(inputs.settings.tls)
    return _config(source, inputs)


def _config(source: ServeSource, inputs: ServeInputs) -> uvicorn.Config:
    settings = inputs.settings
    certificate = Certificate()
    is_bounded = find_spec("httptools") is not None
    # `Handshake` makes TLS connections itself.
    tls = None if is_bounded else settings.tls
    return uvicorn.Config(
        partial(build_app, source, inputs, certificate),
        http=_protocol(settings, certificate) if is_bounded else "h11",
        limit_concurrency=None if is_bounded else settings.max_connections,
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        # Request lines hold nothing of a text, but logging them is the proxy's task.
        access_log=False,
        log_config=log_config(requests=settings.log_requests),
        # Longer than proxies keep theirs: if the server closed first, a request could be lost.
        timeout_keep_alive=_KEEP_ALIVE_S,
        # By default uvicorn believes any process of this host, which may be a proxy for anybody.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ws=_BOUNDED_WEBSOCKET if _has_sansio() else "auto",
        ws_max_size=settings.request.max_body_bytes,
        # A compressed piece may be a thousand times its size.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=int(settings.drain_timeout_s) + 1,
        ssl_certfile=tls.certificate_file if tls else None,
        ssl_keyfile=tls.key_file if tls else None,
        ssl_context_factory=certificate.keep if tls else None,
    )
