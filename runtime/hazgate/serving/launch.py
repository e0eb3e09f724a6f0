"""Start a server: from a bundle and settings to running processes."""

import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from hazgate.engine.buckets import parse_bucket
from hazgate.engine.options import EngineOptions, Shapes
from hazgate.engine.processor import threads_per_run
from hazgate.errors import BundleError
from hazgate.gate import Gate
from hazgate.judge import Judge, no_verdicts, open_judge
from hazgate.judging.policy import Policy
from hazgate.serving.bodies.pairs import check_pairs
from hazgate.serving.http.app import create_app
from hazgate.serving.http.keys import read_api_keys
from hazgate.serving.logs import log_config
from hazgate.serving.metrics import MULTIPROCESS_FOLDER
from hazgate.serving.service import Service
from hazgate.serving.settings import ServeSettings
from hazgate.text.reading import Reading

# A name, because worker processes import it themselves.
_BOUNDED_WEBSOCKET = "hazgate.serving.http.bounded_websocket:BoundedWebSocket"
_KEEP_ALIVE_S = 75
# HTTP and gRPC may each have as many; the rest is for those that are refused, and for files.
_FILES_PER_CONNECTION = 2
_OWN_FILES = 512


def open_served(bundle: Path, settings: ServeSettings) -> Judge:
    """Open the bundle of the settings, with this worker's share of the processors.

    Raises:
        BundleError: the bundle, or a policy, cannot be served; or a route fails open although the
            bundle gives no verdicts; or answers are to be paired and the bundle cannot say so.
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
        ),
        reading=Reading(
            max_text_tokens=settings.request.max_tokens,
            max_text_bytes=settings.request.max_body_bytes,
        ),
        policy=Policy.load(policy.file) if policy.file else None,
        shadow=Policy.load(policy.shadow) if policy.shadow else None,
        responses=Policy.load(policy.responses) if policy.responses else None,
    )
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


def build_app(bundle: Path, settings: ServeSettings) -> ASGIApp:
    """Build one process's application; arguments must pickle, for workers receive them.

    Raises:
        BundleError: the bundle, a policy or the keys cannot be served.
    """
    keys = read_api_keys(Path(settings.api_keys_file)) if settings.api_keys_file else ()
    reopen = partial(open_served, bundle, settings)
    return create_app(reopen(), settings, keys, reopen, rpc_server)


@asynccontextmanager
async def rpc_server(service: Service, key_digests: Sequence[bytes]) -> AsyncIterator[None]:
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

    server = await start(service, key_digests)
    try:
        yield
    finally:
        await server.stop(settings.drain_timeout_s)


def _bounded_http(max_connections: int) -> Any:  # noqa: ANN401 - uvicorn's type knows classes only
    """Return the protocol's class with its limit; it pickles, for worker processes receive it."""
    # Its library comes with `hazgate[serve]` on most platforms only.
    from hazgate.serving.http.bounded_http import BoundedHttp

    return partial(BoundedHttp, max_connections=max_connections)


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


def run(bundle: Path, settings: ServeSettings) -> None:
    """Serve until told to stop: in this process, or in workers that share the mapped weights.

    A worker that dies is replaced. SIGTERM drains all workers, SIGHUP reloads bundle and policies.

    Raises:
        BundleError: the address cannot be used, or the system allows too few open files.
    """
    tls = settings.tls
    most = settings.max_connections
    allow_files(_FILES_PER_CONNECTION * most + _OWN_FILES)
    config = uvicorn.Config(
        partial(build_app, bundle, settings),
        http=_bounded_http(most) if find_spec("httptools") else "h11",
        limit_concurrency=None if find_spec("httptools") else most,
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
    )
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
        Multiprocess(config, sockets=[listening]).run()
