"""Metrics for operators: counts and durations, never a text.

With several worker processes, each keeps its metrics in a file of the folder that
PROMETHEUS_MULTIPROC_DIR names; the process that is asked adds them up.
"""

import os
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from hazgate.engine.exit_audit import ExitFacts
from hazgate.judging.decision import Action
from hazgate.judging.missed import MissedCounts
from hazgate.judging.speech import UnreadKind
from hazgate.serving.queue.engine_thread import BatchFacts
from hazgate.serving.queue.timed_session import RunFacts
from hazgate.serving.service import RequestFacts, StreamFacts

MULTIPROCESS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_GaugeMode = Literal["livesum", "livemax"]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one server, in a Prometheus registry of their own."""

    def __init__(self) -> None:
        """Start with all metrics at zero."""
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "hazgate_requests", "Requests by route and outcome.", "route", "outcome"
        )
        self._request_s = self._seconds(
            "hazgate_request_seconds", "Time from a request's arrival to its answer.", "route"
        )
        self._verdicts = self._counter(
            "hazgate_verdicts",
            "Verdicts by flag and worst hazard; the hazard of a text not flagged is none.",
            "flagged",
            "hazard",
        )
        self._labels = self._counter(
            "hazgate_labels", "Labels that hold, of a level that gives no verdicts.", "label"
        )
        self._level_labels = self._counter(
            "hazgate_level_labels",
            "Labels that hold at levels beside the cascade.",
            "level",
            "label",
        )
        self._shadow = self._counter(
            "hazgate_shadow_decisions",
            "Texts by the policy's action and the action of the shadow policy.",
            "action",
            "shadow",
        )
        self._truncated = self._counter("hazgate_truncated", "Texts whose end was not read.")
        self._not_understood = self._counter(
            "hazgate_not_understood", "Texts that are mostly unknown to the tokenizer."
        )
        self._unvouched = self._counter(
            "hazgate_unvouched_language",
            "Texts in a language that the bundle does not vouch for.",
        )
        self._unknown_tokens = self._counter(
            "hazgate_unknown_tokens", "Tokens for what the tokenizer does not know."
        )
        self._fail_open = self._counter(
            "hazgate_failed_open", "Requests that passed without a verdict, by route.", "route"
        )
        self._unread = self._counter(
            "hazgate_unread",
            "Parts of bodies that hold no text, by kind and the policy's action on their body.",
            "kind",
            "action",
        )
        self._streams = self._counter(
            "hazgate_streams", "Bodies passed piece by piece, by outcome.", "side", "outcome"
        )
        self._stream_bytes = self._counter(
            "hazgate_stream_bytes",
            "Bytes of such bodies: those that were released, and those that were not.",
            "side",
            "released",
        )
        self._stream_delay_s = self._seconds(
            "hazgate_stream_delay_seconds", "Time that a piece was held back.", "side"
        )
        self._batch_requests = Histogram(
            "hazgate_batch_requests",
            "Requests answered by one batch.",
            buckets=_SIZES,
            registry=self._registry,
        )
        self._tokenize_s = self._seconds(
            "hazgate_tokenize_seconds", "Time from a text's arrival to its place in the queue."
        )
        self._queue_s = self._seconds(
            "hazgate_queue_seconds", "Wait of the first request of a batch."
        )
        self._batch_s = self._seconds(
            "hazgate_batch_seconds", "Time of a batch through both levels."
        )
        self._run_s = self._seconds(
            "hazgate_run_seconds", "Time of one run of a level's graph.", "level"
        )
        self._tokens = self._counter("hazgate_tokens", "Tokens read by a level.", "level")
        self._padding = self._counter(
            "hazgate_padding", "Positions of padding in a level's runs.", "level"
        )
        self._store_windows = self._counter(
            "hazgate_store_windows",
            "Windows by whether their logits were in the store; a miss was read.",
            "found",
        )
        self._store_evictions = self._counter(
            "hazgate_store_evictions", "Windows that the store dropped for lack of room."
        )
        self._store_bytes = self._gauge(
            "hazgate_store_bytes", "Memory of the store of logits.", "livesum"
        )
        self._left = self._counter(
            "hazgate_exits_windows",
            "Windows of a level with early exits, by the layer after which they left, or none.",
            "level",
            "after_layer",
        )
        self._audited = self._counter(
            "hazgate_exits_audited_windows",
            "Windows that might leave early and were read whole to see, by what became of them.",
            "outcome",
        )
        self._exits_stopped = self._gauge(
            "hazgate_exits_stopped",
            "1 if early exits turned off by themselves, for they missed too much.",
            "livemax",
        )
        self._missed_least = self._gauge(
            "hazgate_exits_missed_share_lower_bound",
            "Lower bound, at all times, on the share of flagged windows that leave early.",
            "livemax",
        )
        self._missed_most = self._gauge(
            "hazgate_exits_missed_share_upper_bound",
            "Upper bound, at one look, on the share of flagged windows that leave early.",
            "livemax",
        )
        self._waiting = self._gauge(
            "hazgate_waiting_requests", "Requests that wait now.", "livesum"
        )

    @property
    def registry(self) -> CollectorRegistry:
        """The registry, for servers that show it together with their own."""
        return self._registry

    def count_request(self, facts: RequestFacts) -> None:
        """Count a request that ended, and its verdicts if it has any."""
        self._requests.labels(facts.route, facts.outcome).inc()
        self._request_s.labels(facts.route).observe(facts.seconds)
        for verdict in facts.verdicts:
            hazard = verdict.hazard if verdict.flagged and verdict.hazard else "none"
            self._verdicts.labels(str(verdict.flagged).lower(), hazard).inc()
            for level, result in verdict.levels.items():
                for label in result.labels:
                    self._level_labels.labels(level, label).inc()
            if verdict.decision is not None and verdict.shadow is not None:
                self._shadow.labels(verdict.decision.action, verdict.shadow.action).inc()

        self._truncated.inc(sum(answer.truncated for answer in facts.answers))
        self._not_understood.inc(sum(not answer.understood for answer in facts.answers))
        self._unvouched.inc(sum(answer.language is not None for answer in facts.answers))
        self._unknown_tokens.inc(sum(answer.tokens.unknown for answer in facts.answers))
        for classified in facts.labels:
            for label in classified.labels:
                self._labels.labels(label).inc()

    def count_failed_open(self, route: str) -> None:
        """Count a request that a route let pass without a verdict."""
        self._fail_open.labels(route).inc()

    def count_unread(self, kind: UnreadKind, action: Action) -> None:
        """Count a part that nobody could read."""
        self._unread.labels(kind, action).inc()

    def count_stream(self, facts: StreamFacts) -> None:
        """Count a body that passed piece by piece."""
        self._streams.labels(facts.side, facts.outcome).inc()
        self._stream_bytes.labels(facts.side, "true").inc(facts.n_released)
        self._stream_bytes.labels(facts.side, "false").inc(facts.n_bytes - facts.n_released)
        for seconds in facts.delays_s:
            self._stream_delay_s.labels(facts.side).observe(seconds)

    def count_batch(self, facts: BatchFacts) -> None:
        """Count a batch; called on the engine's thread."""
        self._batch_requests.observe(facts.n_requests)
        self.set_waiting(facts.n_waiting)
        self._queue_s.observe(facts.queue_s)
        self._batch_s.observe(facts.run_s)
        for seconds in facts.tokenize_s:
            self._tokenize_s.observe(seconds)
        self._store_windows.labels("true").inc(facts.store.hits)
        self._store_windows.labels("false").inc(facts.store.misses)
        self._store_evictions.inc(facts.store.evictions)
        self._store_bytes.set(facts.store.n_bytes)
        if facts.exits is not None:
            self._count_exits(facts.audited, facts.exits)

    def _count_exits(self, audited: MissedCounts, exits: ExitFacts) -> None:
        kept = audited.n_flagged - audited.n_missed
        for outcome, n_windows in (
            ("safe", audited.n_audited - audited.n_flagged),
            ("flagged", kept),
            ("missed", audited.n_missed),
        ):
            self._audited.labels(outcome).inc(n_windows)
        self._exits_stopped.set(not exits.on)
        self._missed_least.set(exits.lower_bound)
        self._missed_most.set(exits.upper_bound)

    def count_run(self, facts: RunFacts) -> None:
        """Count a run of a graph; called on the run's thread."""
        self._run_s.labels(facts.level).observe(facts.seconds)
        self._tokens.labels(facts.level).inc(facts.n_tokens)
        self._padding.labels(facts.level).inc(facts.n_positions - facts.n_tokens)
        for layer, n_rows in facts.exits.items():
            self._left.labels(facts.level, str(layer) if layer else "none").inc(n_rows)

    def set_waiting(self, n_waiting: int) -> None:
        """Set the number of requests that wait in this process."""
        self._waiting.set(n_waiting)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        folder = os.environ.get(MULTIPROCESS_FOLDER)
        if folder is None:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(folder))
        together = CollectorRegistry()
        MultiProcessCollector(together, folder)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str, mode: _GaugeMode) -> Gauge:
        return Gauge(name, documentation, registry=self._registry, multiprocess_mode=mode)

    def _seconds(self, name: str, documentation: str, *labels: str) -> Histogram:
        return Histogram(name, documentation, labels, buckets=_SECONDS, registry=self._registry)


def _forget_dead_workers(folder: Path) -> None:
    """Drop the waiting requests of dead workers; their counts stay."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            mark_process_dead(int(pid))  # type: ignore[no-untyped-call]
