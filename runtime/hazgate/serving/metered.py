"""A service whose requests, batches and runs are counted, whoever serves it."""

from collections.abc import Callable, Sequence

from hazgate.gate import Gate
from hazgate.serving.logs import log_request
from hazgate.serving.metrics import Metrics
from hazgate.serving.queue.async_gate import AsyncGate
from hazgate.serving.queue.timed_session import observed
from hazgate.serving.service import RequestFacts, Service
from hazgate.serving.settings import ServeSettings


def counted_service(
    gate: Gate,
    settings: ServeSettings,
    metrics: Metrics,
    observers: Sequence[Callable[[RequestFacts], None]] = (),
) -> Service:
    """A service over `gate`, whose engine's thread starts now.

    Args:
        gate: open.
        settings: limits of requests and of the queue.
        metrics: told of everything.
        observers: told of every request, beside the metrics and the log.
    """
    return Service(
        engine=AsyncGate(
            observed(gate, metrics.count_run),
            limits=settings.queue,
            cache_entries=settings.engine.cache_entries,
            on_batch=metrics.count_batch,
        ),
        settings=settings,
        observers=[metrics.count_request, log_request, *observers],
        on_failed_open=metrics.count_failed_open,
    )
