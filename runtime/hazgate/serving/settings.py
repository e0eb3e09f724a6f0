"""Settings of a server: one TOML file, strictly parsed, all problems listed at once."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hazgate.documents.decode import decode
from hazgate.documents.files import read_bytes
from hazgate.documents.problems import list_problems, wrong_version
from hazgate.documents.toml import parse_toml
from hazgate.engine.buckets import parse_bucket
from hazgate.engine.exit_audit import DEFAULT_AUDIT_SHARE
from hazgate.engine.logit_store import StoreLimits
from hazgate.engine.providers.table import find_provider
from hazgate.errors import BundleError, HazgateError
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.text.views.names import NAMES

SCHEMA_VERSION = 1

# Dialects that can let a text pass without calling it safe.
FailOpenRoute = Literal["litellm", "agentgateway", "bedrock", "ext_authz", "ext_proc"]
# Forms of semantic-router's `http_classify`.
ClassifyContract = Literal["label_distribution.v1", "score.v1"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineTable:
    """Settings of the engine: arguments of `Gate.open`, and the number of verdicts to keep.

    `level` is the level to serve alone; needed only where there are several and no cascade.
    `buckets` (as "8x512") and the folder `programs` are for providers that compile. A run of the
    engine that takes longer than `max_run_s` is given up: the bundle is opened again once, and
    the second time the process ends. `exits` is a probe file in place of the bundle's, for a
    variant with early exits, and `audit_share` the share of what may leave that is read whole to
    see what would be missed.
    """

    level: str | None = None
    variant: str | None = None
    providers: tuple[str, ...] = ("cpu",)
    device_id: int = 0
    threads: int | None = None
    workers: int = 1
    buckets: tuple[str, ...] = ()
    programs: str | None = None
    cache_entries: int = 0
    max_run_s: float = 120.0
    exits: str | None = None
    audit_share: float = DEFAULT_AUDIT_SHARE


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestTable:
    """Limits of a request.

    `timeout_s` is how long an answer is of use to any caller, and `body_timeout_s` how long the
    next part of a body may take to arrive. `max_tokens` limits the tokens of all its texts
    together; their number is no limit. `max_bytes_in_flight` limits the bodies of all requests
    that are not answered yet; one caller may have three quarters of it.
    """

    timeout_s: float = 20.0
    max_body_bytes: int = 2_000_000
    body_timeout_s: float = 10.0
    max_tokens: int = 1 << 17
    max_bytes_in_flight: int = 64_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamTable:
    """Bounds of what is held back of a stream that passes piece by piece.

    Its text is judged and released after `hold_tokens` new tokens, and after `hold_s` seconds,
    however few. More of either reads fewer windows; less of either delays the stream less.
    """

    hold_tokens: int = 48
    hold_s: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyTable:
    """Files of the policy that decides, and of the shadow policy that is only reported.

    `responses` is the file of the policy that decides on a model's answers in place of `file`.
    With `pair` each answer is also judged beside the last user turn, in the bundle's conversation
    format, where a protocol brings both.
    """

    file: str | None = None
    shadow: str | None = None
    responses: str | None = None
    pair: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TlsTable:
    """PEM files of the server's certificate chain and of its private key."""

    certificate_file: str
    key_file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeSettings:
    """All settings of a server; its bundle is given separately.

    `fail_open` names the routes that let a text pass if there is no verdict, because of overload,
    a deadline or a failed engine; all other routes refuse. Such an answer has a header that says
    so, and is counted; no route ever invents a verdict. `api_keys_file` has one key per line; a
    request must bring one of them as a bearer token. `grpc_port` is the port of gRPC; None turns
    gRPC off. `max_connections` limits open HTTP connections, WebSockets among them, and as many
    of gRPC. `max_sockets` limits open WebSockets; one that is silent for `socket_idle_s` is closed.
    `max_calls` and `max_streams` limit open gRPC calls of one answer and of many. One caller may
    have three quarters of each but connections. Callers without keys take turns by address:
    X-Forwarded-For is read only from `trusted_proxies`, addresses or networks.
    `ext_authz_upgrades` names the protocols, as "websocket", to which a request may change at
    ext_authz, although nobody reads what follows; all others are denied.
    `classify_contract` is the form of semantic-router's answers. `litellm_masks_responses` says
    that LiteLLM puts masked answers in the place of the model's, as it does where
    `streaming_transform_mode` is `incremental_diff`; else they are blocked. `views` names the
    disguises that are undone beside each text; none if it is empty. `sentences_from_tokens` is
    the length of the shortest text that is also read sentence by sentence, in place of the
    bundle's. Each of `workers` processes has an engine of its own, on its share of the processors,
    over the same mapped weights. `log_requests` writes a line per request, `traces` sends spans by
    OpenTelemetry; neither holds anything of a text. On SIGTERM readiness turns red at once; after
    `drain_delay_s`, in which load balancers notice it, the server stops listening, and it ends
    within `drain_timeout_s` more.
    """

    schema_version: int = SCHEMA_VERSION
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    max_connections: int = 1024
    max_sockets: int = 256
    socket_idle_s: float = 60.0
    max_calls: int = 1024
    max_streams: int = 1024
    trusted_proxies: tuple[str, ...] = ()
    drain_delay_s: float = 0.0
    drain_timeout_s: float = 20.0
    api_keys_file: str | None = None
    workers: int = 1
    log_requests: bool = False
    traces: bool = False
    fail_open: tuple[FailOpenRoute, ...] = ()
    classify_contract: ClassifyContract = "label_distribution.v1"
    litellm_masks_responses: bool = False
    ext_authz_upgrades: tuple[str, ...] = ()
    views: tuple[str, ...] = NAMES
    sentences_from_tokens: int | None = None
    engine: EngineTable = field(default_factory=EngineTable)
    request: RequestTable = field(default_factory=RequestTable)
    stream: StreamTable = field(default_factory=StreamTable)
    queue: QueueLimits = field(default_factory=QueueLimits)
    store: StoreLimits = field(default_factory=StoreLimits)
    policy: PolicyTable = field(default_factory=PolicyTable)
    tls: TlsTable | None = None

    @classmethod
    def load(cls, file: Path) -> "ServeSettings":
        """Read settings from a TOML file; relative paths in it start at its folder.

        Raises:
            BundleError: the file cannot be read, or fields are wrong; the message lists all.
        """
        problems: list[str] = []
        text = read_bytes(file, error=BundleError)
        data = parse_toml(text, source=str(file), error=BundleError)
        # These tables refuse one field at a time; here all problems are listed at once.
        for table, least in (("queue", 1), ("store", 0)):
            too_small = _small_limits(data.get(table), least)
            problems += [
                f"$.{table}.{name}: must be at least {least}, got {n}"
                for name, n in too_small.items()
            ]
            if too_small:
                data[table] = {k: v for k, v in data[table].items() if k not in too_small}
        problems += _replaced(data.get("request"))
        settings = decode(cls, data, problems)
        if settings is not None:
            problems += _contradictions(settings)
        if settings is None or problems:
            listed = list_problems(problems)
            raise BundleError(f"{file} is not a valid server configuration:{listed}")
        return _with_whole_paths(settings, file.parent)


def _with_whole_paths(settings: ServeSettings, folder: Path) -> ServeSettings:
    def whole(name: str | None) -> str | None:
        return None if name is None else str(folder / name)

    tls = settings.tls
    return replace(
        settings,
        api_keys_file=whole(settings.api_keys_file),
        engine=replace(
            settings.engine,
            programs=whole(settings.engine.programs),
            exits=whole(settings.engine.exits),
        ),
        policy=replace(
            settings.policy,
            file=whole(settings.policy.file),
            shadow=whole(settings.policy.shadow),
            responses=whole(settings.policy.responses),
        ),
        tls=None
        if tls is None
        else TlsTable(
            certificate_file=str(folder / tls.certificate_file), key_file=str(folder / tls.key_file)
        ),
    )


def _replaced(request: object) -> Iterator[str]:
    """Yield a problem for each limit of an older version, and take it out of the table."""
    if isinstance(request, dict):
        for name in ("max_texts", "max_text_tokens"):
            if request.pop(name, None) is not None:
                yield (
                    f"$.request.{name}: replaced by max_tokens, the tokens of all texts of a "
                    "request together"
                )


def _small_limits(table: object, least: int) -> dict[str, int]:
    if not isinstance(table, dict):
        return {}
    return {
        name: n
        for name, n in table.items()
        if isinstance(n, int) and not isinstance(n, bool) and n < least
    }


def _contradictions(settings: ServeSettings) -> Iterator[str]:
    yield from wrong_version(settings.schema_version, SCHEMA_VERSION)
    for name, port in {"port": settings.port, "grpc_port": settings.grpc_port}.items():
        if port is not None and not 0 <= port <= 65_535:
            yield f"$.{name}: must be from 0 to 65535, got {port}"
    positive = {
        "request.timeout_s": settings.request.timeout_s,
        "request.max_body_bytes": settings.request.max_body_bytes,
        "request.body_timeout_s": settings.request.body_timeout_s,
        "request.max_tokens": settings.request.max_tokens,
        "stream.hold_tokens": settings.stream.hold_tokens,
        "stream.hold_s": settings.stream.hold_s,
        "engine.max_run_s": settings.engine.max_run_s,
        "socket_idle_s": settings.socket_idle_s,
    }
    for name, value in positive.items():
        # Refuses NaN, too.
        if not value > 0:
            yield f"$.{name}: must be positive, got {value}"
    for name in ("drain_delay_s", "drain_timeout_s"):
        seconds = getattr(settings, name)
        if not 0 <= seconds < math.inf:
            yield f"$.{name}: must be a number of seconds from 0, got {seconds}"
    if not 0 <= settings.engine.audit_share <= 1:
        yield f"$.engine.audit_share: must be from 0 to 1, got {settings.engine.audit_share}"
    if settings.engine.cache_entries < 0:
        yield f"$.engine.cache_entries: must not be negative, got {settings.engine.cache_entries}"
    for name in ("max_connections", "max_sockets", "max_calls", "max_streams", "workers"):
        number = getattr(settings, name)
        if number < 1:
            yield f"$.{name}: must be at least 1, got {number}"
    for protocol in settings.ext_authz_upgrades:
        if not protocol.strip() or protocol != protocol.strip().lower() or "," in protocol:
            yield (
                f'$.ext_authz_upgrades: must be protocols in lower case, as "websocket", got '
                f"{protocol!r}"
            )
    request = settings.request
    if request.max_bytes_in_flight < 2 * request.max_body_bytes:
        yield (
            "$.request.max_bytes_in_flight: must be at least twice request.max_body_bytes "
            f"({request.max_body_bytes}), got {request.max_bytes_in_flight}"
        )
    for name in settings.views:
        if name not in NAMES:
            yield f"$.views: no such view {name!r}; there are {', '.join(NAMES)}"
    if settings.sentences_from_tokens is not None and settings.sentences_from_tokens < 1:
        yield f"$.sentences_from_tokens: must be at least 1, got {settings.sentences_from_tokens}"
    yield from _problems("engine.providers", find_provider, settings.engine.providers)
    yield from _problems("engine.buckets", parse_bucket, settings.engine.buckets)
    if settings.engine.workers < 1:
        yield f"$.engine.workers: must be at least 1, got {settings.engine.workers}"
    if settings.engine.threads is not None and settings.engine.threads < 1:
        yield f"$.engine.threads: must be at least 1, got {settings.engine.threads}"


def _problems(path: str, parse: Callable[[str], object], values: Sequence[str]) -> Iterator[str]:
    for value in values:
        try:
            parse(value)
        except HazgateError as error:  # noqa: PERF203 - a handful of words
            yield f"$.{path}: {error}"
