"""`python -m benchmarks.traffic.store BUNDLE`: what a store of logits saves on traffic.

Replays are sent step by step, each once to a gate with a store and once to the same gate without
one, in turns. Engine times are processor time inside of the models' runs, on one thread; a request
is timed from its texts to its verdicts. Both must give the same verdicts.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.traffic.texts import REPLAYS, Replay, pair
from hazgate import Gate
from hazgate.cli.progress import track
from hazgate.engine.logit_store import DEFAULT_STORE, LogitStore
from hazgate.engine.options import EngineOptions
from hazgate.engine.session import Session
from hazgate.gate import AnyLevel
from hazgate.text.conversation import ConversationVerdict, Message, Scope

_COMMAND = "python -m benchmarks.traffic.store"
_SEED = 20261
_SCOPES: tuple[Scope, ...] = ("each", "whole", "last")
# Times of the last step and of a fresh pair of turns are medians of so many.
_REPEATS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreFigures:
    """One replay, read in one scope.

    `engine_s` is processor time inside of the models' runs. `last_ms` is the time of the last step
    with the store, and `fresh_ms` that of a pair of turns which nobody has sent before, without
    one; of chats, the last question and the answer before it.
    """

    replay: str
    scope: Scope
    n_steps: int
    n_windows: int
    n_found: int
    engine_s: float
    engine_without_s: float
    last_ms: float
    last_without_ms: float
    fresh_ms: float
    n_verdicts: int
    n_different: int

    @property
    def share_found(self) -> float:
        """Share of the windows whose logits were in the store."""
        return self.n_found / self.n_windows

    @property
    def engine_ratio(self) -> float:
        """Engine time without the store, in times of that with it."""
        return self.engine_without_s / self.engine_s

    @property
    def last_ratio(self) -> float:
        """Time of the last step, in times of a fresh pair of turns."""
        return self.last_ms / self.fresh_ms


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreResults:
    """All that one run measured, in one variant."""

    header: ResultHeader
    variant: str
    replays: tuple[StoreFigures, ...]


def store_table(results: StoreResults) -> str:
    """Return the replays in Markdown."""
    head = (
        *("traffic", "scope", "requests", "windows from the store"),
        *("engine without, s", "engine with, s", "times less"),
        *("last request without, ms", "with, ms", "fresh pair of turns, ms"),
        "verdicts that differ",
    )
    rows = [
        (
            each.replay,
            f"`{each.scope}`",
            f"{each.n_steps}",
            f"{each.share_found:.1%}",
            f"{each.engine_without_s:.2f}",
            f"{each.engine_s:.2f}",
            f"{each.engine_ratio:.1f}",
            f"{each.last_without_ms:.1f}",
            f"{each.last_ms:.1f}",
            f"{each.fresh_ms:.1f}",
            f"{each.n_different} of {each.n_verdicts:,}",
        )
        for each in results.replays
    ]
    run = results.header
    return (
        f"`{run.name}`, `{results.variant}`; processor time of one thread on {run.host.summary}, "
        f"with and without the store in turns. {run.origin}\n\n{table(head, rows)}"
    )


@click.command(epilog=f"Example: {_COMMAND} build/mini --steps 60")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--variant", default="auto", show_default=True, help="Variant to open.")
@click.option(
    "--steps",
    type=click.IntRange(min=2),
    default=60,
    show_default=True,
    help="Requests of a replay.",
)
@refusals()
def main(bundle: Path, variant: str, steps: int) -> None:
    """Replay an agent's loop and chats with and without a store of logits.

    Writes results/traffic-store.json.
    """
    gate = Gate.open(bundle, engine=EngineOptions(variant=variant, threads=1))
    if not gate.level1.is_exact:
        raise BenchmarkError(f"the store keeps nothing of {gate.model.variant}: name another")
    # The first run allocates what later ones use again.
    gate.check("word " * 500, all_levels=True)
    cases = [(name, scope) for name in REPLAYS for scope in _SCOPES]
    results = StoreResults(
        header=header(
            gate.model.bundle,
            f"{_COMMAND} build/{gate.model.bundle} --steps {steps}",
            digest=gate.model.digest,
            threads=1,
        ),
        variant=gate.model.variant,
        replays=tuple(
            measured(gate, name, REPLAYS[name](_SEED, steps), scope)
            for name, scope in track(cases, "replays")
        ),
    )
    publish(results, RESULTS / "traffic-store.json", store_table)


def measured(gate: Gate, name: str, replay: Replay, scope: Scope) -> StoreFigures:
    """Replay conversations in one scope, with a store and without one in turns."""
    store = LogitStore(DEFAULT_STORE)
    without, clock_without = _clocked(gate)
    kept, clock = _clocked(dataclasses.replace(gate, store=store))
    n_different = n_verdicts = 0
    for messages in replay:
        found, expected = (each.check_messages(messages, scope=scope) for each in (kept, without))
        n_verdicts += len(expected.verdicts)
        n_different += _n_different(found, expected)
    engine_s, engine_without_s, facts = clock.seconds, clock_without.seconds, store.facts
    return StoreFigures(
        replay=name,
        scope=scope,
        n_steps=len(replay),
        n_windows=facts.hits + facts.misses,
        n_found=facts.hits,
        engine_s=engine_s,
        engine_without_s=engine_without_s,
        **_times_of_last(kept, without, replay, scope),
        n_verdicts=n_verdicts,
        n_different=n_different,
    )


def _times_of_last(kept: Gate, without: Gate, replay: Replay, scope: Scope) -> dict[str, float]:
    """Return milliseconds of the last step, each time with an end that is new to the store."""
    rng = np.random.default_rng(_SEED + 1)
    last_s, last_without_s, fresh_s = [], [], []
    for _ in range(_REPEATS):
        fresh = pair(rng)
        messages = [*replay[-2], *fresh]
        last_s.append(_seconds(kept, messages, scope))
        last_without_s.append(_seconds(without, messages, scope))
        fresh_s.append(_seconds(without, fresh, scope))
    return {
        "last_ms": 1e3 * float(np.median(last_s)),
        "last_without_ms": 1e3 * float(np.median(last_without_s)),
        "fresh_ms": 1e3 * float(np.median(fresh_s)),
    }


def _seconds(gate: Gate, messages: Sequence[Message], scope: Scope) -> float:
    start_s = time.process_time()
    gate.check_messages(messages, scope=scope)
    return time.process_time() - start_s


def _n_different(found: ConversationVerdict, expected: ConversationVerdict) -> int:
    return sum(a != b for a, b in zip(found.verdicts, expected.verdicts, strict=True))


class _EngineClock:
    """The processor time of some sessions' runs."""

    def __init__(self) -> None:
        self.seconds = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _ClockedSession:
    session: Session
    clock: _EngineClock

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        start_s = time.process_time()
        logits = self.session.run(input_ids, attention_mask, may_leave)
        self.clock.seconds += time.process_time() - start_s
        return logits


def _clocked(gate: Gate) -> tuple[Gate, _EngineClock]:
    """Return a gate whose runs are timed, and their clock."""
    clock = _EngineClock()

    def clocked(level: AnyLevel) -> AnyLevel:
        return dataclasses.replace(
            level, session=_ClockedSession(session=level.session, clock=clock)
        )

    return gate.each_level(clocked), clock


REGIONS: Regions = {"traffic-store": region("traffic-store.json", StoreResults, store_table)}


if __name__ == "__main__":
    main()
