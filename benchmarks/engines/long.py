"""`python -m benchmarks.engines.long`: one text as long as the model's positions, in each engine.

The engines would not fit into memory together with it, so each is started for its turn and ended
after it. Turns of a round follow one another, rounds repeat.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
from transformers import AutoConfig

from benchmarks.engines.compare import MAX_REASON, WORKER, EngineSubject, engines_of
from benchmarks.engines.systems import REFERENCE, EngineSetup, EngineSpec
from benchmarks.engines.workloads import EngineWorkload, grid
from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError, WorkerFailed
from benchmarks.harness.markdown import spread_text, table
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.runner import TimedCase, start_system
from benchmarks.harness.statistics import RoundSpread, speedup, spread
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track
from hazgate.engine.processor import n_processors

# A plain session on the portable graph takes memory quadratic in the length: tens of gigabytes.
_LEFT_OUT = ("optimum", "ort-dynamic", "ort-dynamic-reduced")


@dataclass(frozen=True, kw_only=True, slots=True)
class LongFigures:
    """One engine: seconds of one text, and its process's greatest resident set."""

    name: str
    title: str
    seconds: RoundSpread | None
    vs_pytorch: RoundSpread | None
    peak_rss_bytes: int | None
    failure: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LongComparison:
    """All that one run measured."""

    header: ResultHeader
    tokens: int
    rounds: int
    engines: tuple[LongFigures, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LongTurn:
    """One engine's turn: seconds of its timed call, and its greatest resident set."""

    seconds: float
    peak_bytes: int


def measure_long(
    subject: EngineSubject, *, tokens: int, rounds: int, threads: int, command: str
) -> LongComparison:
    """Give every engine the same text of `tokens`, `rounds` times, each after an untimed call.

    The engines' forms must exist, see benchmarks.engines.compare. An engine that fails is
    recorded as failed and left out of later rounds.

    Raises:
        BenchmarkError: the forms do not exist.
    """
    if not subject.merged.is_dir():
        raise BenchmarkError(
            "no engine has a form of this bundle: run python -m benchmarks.engines.run "
            "--size full first"
        )
    (workload,) = grid([tokens], [])
    vocab_size = AutoConfig.from_pretrained(subject.merged, local_files_only=True).vocab_size
    specs = [
        spec
        for spec in engines_of(subject, threads=threads, compile_too=False)
        if spec.name not in _LEFT_OUT and spec.workers == 1
    ]
    taken: dict[str, list[LongTurn]] = {spec.name: [] for spec in specs}
    failures: dict[str, str] = {}
    turns = [spec for _ in range(rounds) for spec in specs]
    for spec in track(turns, f"{tokens} tokens, {rounds} rounds"):
        if spec.name in failures:
            continue
        try:
            taken[spec.name].append(_turn(spec, workload, vocab_size, threads))
        except WorkerFailed as error:
            failures[spec.name] = str(error)[:MAX_REASON]
    return LongComparison(
        header=header(subject.name, command, digest=subject.bundle.digest, threads=threads),
        tokens=tokens,
        rounds=rounds,
        engines=tuple(long_figures(spec, taken, failures) for spec in specs),
    )


def _turn(spec: EngineSpec, workload: EngineWorkload, vocab_size: int, threads: int) -> LongTurn:
    setup = EngineSetup(
        engine=spec,
        threads=threads,
        vocab_size=vocab_size,
        workloads=(workload,),
        rows=((1, 2, 3),),
    )
    with ExitStack() as stack:
        system = start_system(stack, spec.name, WORKER, setup, threads=threads)
        # The first call of a shape allocates what the second uses again.
        (seconds,) = system.time(TimedCase(workload=workload.name, n_warm=1, n_calls=1))
        return LongTurn(seconds=seconds, peak_bytes=system.memory().peak_bytes)


def long_figures(
    spec: EngineSpec, taken: Mapping[str, Sequence[LongTurn]], failures: Mapping[str, str]
) -> LongFigures:
    """Return an engine's figures from the turns of all engines; ratios are within rounds."""
    seconds = [turn.seconds for turn in taken[spec.name]]
    reference = [turn.seconds for turn in taken[REFERENCE]]
    whole = spec.name not in failures
    return LongFigures(
        name=spec.name,
        title=spec.title,
        seconds=spread(seconds) if whole else None,
        vs_pytorch=speedup(reference, seconds) if whole and REFERENCE not in failures else None,
        peak_rss_bytes=max(turn.peak_bytes for turn in taken[spec.name]) if whole else None,
        failure=failures.get(spec.name),
    )


def long_table(results: LongComparison) -> str:
    """Return the engines in Markdown."""
    head = (f"one text of {results.tokens} tokens", "s", "vs PyTorch", "peak resident GB")
    body = [
        (
            engine.title,
            spread_text(engine.seconds, 1, 1) if engine.seconds else "failed",
            spread_text(engine.vs_pytorch, 1, 2) if engine.vs_pytorch else "–",
            f"{engine.peak_rss_bytes / 1e9:.1f}" if engine.peak_rss_bytes else "–",
        )
        for engine in results.engines
    ]
    run = results.header
    return (
        f"{run.name}, one level, {run.threads} threads on {run.host.summary}; one "
        f"engine in memory at a time, {results.rounds} rounds. {run.origin}\n\n{table(head, body)}"
    )


@click.command(epilog="Example: python -m benchmarks.engines.long --rounds 2")
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--tokens", type=click.IntRange(min=1), default=8192, show_default=True)
@click.option("--level", default="level2", show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=RESULTS / "engines-long.json",
    help="[default: benchmarks/results/engines-long.json]",
)
@refusals()
def run(rounds: int, tokens: int, level: str, out: Path) -> None:
    """Time one long text on the stand-in of `make rehearse`.

    Uses the engines' forms that `python -m benchmarks.engines.run --size full` has written.
    """
    build = REPOSITORY / "build"
    bundle = Bundle.open(build / "rehearsal" / "bundle")
    place = build / "engines" / "full" / bundle.digest[:16]
    results = measure_long(
        EngineSubject(
            name="full-size stand-in",
            level=level,
            merged=place / "merged" / level,
            bundle=bundle,
            forms=place / level,
        ),
        tokens=tokens,
        rounds=rounds,
        threads=n_processors(),
        command=f"python -m benchmarks.engines.long --rounds {rounds} --tokens {tokens}",
    )
    publish(results, out, long_table)


REGIONS: Regions = {"engines-long": region("engines-long.json", LongComparison, long_table)}


if __name__ == "__main__":
    run()
