"""What an operator watches: counts and durations, never a text."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hazgate.serving.batcher import BatchFacts
from hazgate.verdict import Verdict

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """One server's figures in Prometheus' text format, in a registry of their own."""

    def __init__(self) -> None:
        """All figures at zero."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "hazgate_requests",
            "Requests by route and outcome.",
            ("route", "outcome"),
            registry=self.registry,
        )
        self._request_s = Histogram(
            "hazgate_request_seconds",
            "From a request's arrival to its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._verdicts = Counter(
            "hazgate_verdicts",
            "Verdicts by what they name; hazard is none where the gate stayed shut.",
            ("flagged", "hazard"),
            registry=self.registry,
        )
        self._truncated = Counter(
            "hazgate_truncated", "Texts whose end was not read.", registry=self.registry
        )
        self._fail_open = Counter(
            "hazgate_failed_open",
            "Texts that were let pass without a verdict, by route.",
            ("route",),
            registry=self.registry,
        )
        self._batch_requests = Histogram(
            "hazgate_batch_requests",
            "Requests that one run of the engine answered.",
            buckets=_SIZES,
            registry=self.registry,
        )
        self._batch_tokens = Counter(
            "hazgate_tokens", "Tokens that Level 1 read.", registry=self.registry
        )
        self._queue_s = Histogram(
            "hazgate_queue_seconds",
            "How long the first request of a run had waited.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._run_s = Histogram(
            "hazgate_run_seconds", "A run of the engine.", buckets=_SECONDS, registry=self.registry
        )
        self.waiting = Gauge(
            "hazgate_waiting_requests", "Requests that wait now.", registry=self.registry
        )

    def count_request(self, route: str, outcome: str, seconds: float) -> None:
        """An answered request; `outcome` is "ok" or the kind of the error."""
        self._requests.labels(route, outcome).inc()
        self._request_s.labels(route).observe(seconds)

    def count_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Verdicts that were given."""
        for verdict in verdicts:
            hazard = verdict.hazard if verdict.flagged and verdict.hazard else "none"
            self._verdicts.labels(str(verdict.flagged).lower(), hazard).inc()
            if verdict.truncated:
                self._truncated.inc()

    def count_failed_open(self, route: str) -> None:
        """A request that a route let pass without a verdict."""
        self._fail_open.labels(route).inc()

    def count_batch(self, facts: BatchFacts) -> None:
        """A run of the engine; called on its thread."""
        self._batch_requests.observe(facts.n_requests)
        self._batch_tokens.inc(facts.n_tokens)
        self._queue_s.observe(facts.queue_s)
        self._run_s.observe(facts.run_s)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self.registry)
