"""A service with metrics: its requests, batches and model runs are counted."""

from collections.abc import Callable, Sequence

from hazgate.judge import Judge
from hazgate.serving.keys import KeyRing
from hazgate.serving.logs import log_request
from hazgate.serving.metrics import Metrics
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.queue.timed_session import time_sessions
from hazgate.serving.service import RequestFacts, Service
from hazgate.serving.settings import ServeSettings


def metered_service(
    gate: Judge,
    settings: ServeSettings,
    metrics: Metrics,
    observers: Sequence[Callable[[RequestFacts], None]] = (),
    keys: KeyRing | None = None,
) -> Service:
    """Return a service over `gate`; the engine's thread starts now.

    Args:
        gate: an open gate, or a level that gives labels only.
        settings: limits of requests and of the queue.
        metrics: count every request, batch and run.
        observers: called for every request, in addition to the metrics and the log.
        keys: bind callers to tenants and limits.
    """
    return Service(
        engine=Batcher(
            time_sessions(gate, metrics.count_run),
            limits=settings.queue,
            cache_entries=settings.engine.cache_entries,
            store=settings.store,
            on_batch=metrics.count_batch,
        ),
        settings=settings,
        keys=keys or KeyRing(),
        observers=[metrics.count_request, log_request, *observers],
        on_failed_open=metrics.count_failed_open,
        on_unread=metrics.count_unread,
        on_stream=metrics.count_stream,
    )
