"""`python -m benchmarks.engines.long`: one text as long as the model's positions, in every engine.

Side by side these engines would not fit into memory with it, so each is started for its turn and
ended behind it; turns of a round follow one another, rounds repeat.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from transformers import AutoConfig

from benchmarks.engines.compare import Subject, engines_of
from benchmarks.engines.messages import Memory, Ready, Request, Setup
from benchmarks.engines.systems import REFERENCE, EngineSpec
from benchmarks.engines.workloads import Workload, grid
from benchmarks.harness.errors import BenchmarkError, WorkerFailed
from benchmarks.harness.machine import Machine, describe_machine, today
from benchmarks.harness.markdown import spread_text, table
from benchmarks.harness.messages import Timed
from benchmarks.harness.process import REPOSITORY, start_worker
from benchmarks.harness.statistics import Spread, speedup, spread
from benchmarks.harness.store import DISTRIBUTIONS, RESULTS, SCHEMA_VERSION, load, save
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track
from hazgate.engine.session import default_threads
from hazgate.errors import HazgateError

# A plain session on the portable graph takes memory quadratic in the length: tens of gigabytes.
_LEFT_OUT = ("optimum", "ort-dynamic", "ort-dynamic-reduced")


@dataclass(frozen=True, kw_only=True, slots=True)
class LongFigures:
    """One engine; seconds of one text, and its process's greatest resident set."""

    name: str
    title: str
    seconds: Spread | None
    vs_pytorch: Spread | None
    peak_rss_bytes: int | None
    failure: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LongComparison:
    """Everything that one run measured."""

    schema_version: int
    name: str
    bundle_digest: str
    date: str
    command: str
    machine: Machine
    threads: int
    tokens: int
    rounds: int
    engines: tuple[LongFigures, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    seconds: float
    peak_bytes: int


def measure_long(
    subject: Subject, *, tokens: int, rounds: int, threads: int, command: str
) -> LongComparison:
    """Gives every engine the same text of `tokens`, `rounds` times, each after an untimed call.

    The engines' forms must have been written, see benchmarks.engines.compare. One that fails is
    recorded so and left out of later rounds.

    Raises:
        BenchmarkError: the forms are not there.
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
    taken: dict[str, list[_Turn]] = {spec.name: [] for spec in specs}
    failures: dict[str, str] = {}
    turns = [spec for _ in range(rounds) for spec in specs]
    for spec in track(turns, f"{tokens} tokens, {rounds} rounds"):
        if spec.name in failures:
            continue
        try:
            taken[spec.name].append(_turn(spec, workload, vocab_size, threads))
        except WorkerFailed as error:
            failures[spec.name] = str(error)[:600]
    return LongComparison(
        schema_version=SCHEMA_VERSION,
        name=subject.name,
        bundle_digest=subject.bundle.digest,
        date=today(),
        command=command,
        machine=describe_machine(DISTRIBUTIONS),
        threads=threads,
        tokens=tokens,
        rounds=rounds,
        engines=tuple(_figures(spec, taken, failures) for spec in specs),
    )


def _turn(spec: EngineSpec, workload: Workload, vocab_size: int, threads: int) -> _Turn:
    setup = Setup(
        engine=spec,
        threads=threads,
        vocab_size=vocab_size,
        workloads=(workload,),
        cases=((1, 2, 3),),
    )
    arguments = ["-m", "benchmarks.engines.worker"]
    with start_worker(spec.name, arguments, threads=threads) as worker:
        worker.ask(setup, Ready)
        request = Request(action="time", name=workload.name, n_calls=2)
        # The first call of a shape allocates what the second finds.
        (_, seconds) = worker.ask(request, Timed).seconds
        memory = worker.ask(Request(action="memory"), Memory)
    return _Turn(seconds=seconds, peak_bytes=memory.peak_bytes)


def _figures(
    spec: EngineSpec, taken: Mapping[str, Sequence[_Turn]], failures: Mapping[str, str]
) -> LongFigures:
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
    """The engines in Markdown."""
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
    return (
        f"{results.name}, one level, {results.threads} threads on {results.machine.summary}; one "
        f"engine in memory at a time, {results.rounds} rounds. {results.date}, "
        f"`{results.command}`.\n\n{table(head, body)}"
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
def run(rounds: int, tokens: int, level: str, out: Path) -> None:
    """Time one long text on the stand-in of `make rehearse`.

    The engines' forms are those that `python -m benchmarks.engines.run --size full` has written.
    """
    build = REPOSITORY / "build"
    threads = default_threads()
    try:
        bundle = Bundle.open(build / "rehearsal" / "bundle")
        place = build / "engines" / "full" / bundle.digest[:16]
        results = measure_long(
            Subject(
                name="full-size stand-in",
                level=level,
                merged=place / "merged" / level,
                bundle=bundle,
                forms=place / level,
            ),
            tokens=tokens,
            rounds=rounds,
            threads=threads,
            command=f"python -m benchmarks.engines.long --rounds {rounds} --tokens {tokens}",
        )
    except (BenchmarkError, HazgateError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    save(results, out)
    click.echo(f"{long_table(load(LongComparison, out))}\n\n{out}")


if __name__ == "__main__":
    run()
