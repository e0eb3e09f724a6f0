"""`python -m benchmarks.corpus.run`: `hazgate corpus` and the engine's own peak in process.

Each round measures the peak, then a run over the whole corpus with one actor per processor, then
the peak again. After all rounds come runs over a part of the corpus on Ray clusters of one node
and of two, in turn, each node with one processor. A run's rate is taken between the commits of
its parts, without its start.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
import pyarrow.parquet as pq

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.markdown import spread_text, table
from benchmarks.harness.process import REPOSITORY, run_once
from benchmarks.harness.ray_nodes import RayCluster, cluster_of
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.statistics import spread
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.harness.texts import proof_texts
from hazgate.bundle.bundle import Bundle
from hazgate.engine.processor import n_processors

_N_PEAK_TEXTS = 20_000
_MAX_CHARACTERS = 120
_SAMPLE_S = 0.25
_TEMPLATES = ("Question {n}: {text}", "{text} (no. {n})", "In my case, {n}: {text}")


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusRun:
    """One `hazgate corpus`.

    `rows_per_s` is the rate while every actor works: after each actor's first commit and before
    its last. `first_part_s` and `total_s` are from the command's start. Resident sets are peaks
    of one process; `ray_rss_bytes` is the sum of all but driver and actors.
    """

    n_rows: int
    rows_per_s: float
    first_part_s: float
    total_s: float
    driver_rss_bytes: int
    actor_rss_bytes: int
    ray_rss_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusRound:
    """A run between two measurements of the peak, in texts per second."""

    peak_before: float
    peak_after: float
    run: CorpusRun

    @property
    def share(self) -> float:
        """The run's rate, as a share of the peak around it."""
        return 2 * self.run.rows_per_s / (self.peak_before + self.peak_after)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """The same rows on one node and on two, each of one processor."""

    one: CorpusRun
    two: CorpusRun

    @property
    def speedup(self) -> float:
        """Rate of two nodes over that of one."""
        return self.two.rows_per_s / self.one.rows_per_s


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusResults:
    """All that one run measured."""

    header: ResultHeader
    variant: str
    n_actors: int
    n_rows: int
    n_bytes: int
    rounds: tuple[CorpusRound, ...]
    scaling: tuple[Scaling, ...]


def write_corpus(file: Path, n_rows: int) -> None:
    """Write short proof texts as JSON Lines, no two alike, the same every time."""
    short = [text for text in proof_texts() if len(text) <= _MAX_CHARACTERS]
    with file.open("w", encoding="utf-8") as lines:
        for n in range(n_rows):
            template = _TEMPLATES[n // len(short) % len(_TEMPLATES)]
            text = template.format(text=short[n % len(short)], n=n)
            lines.write(json.dumps({"id": n, "text": text}) + "\n")


def rate_of(commits: Sequence[tuple[float, int]], n_actors: int) -> float:
    """Return rows per second while every actor works.

    Args:
        commits: the time of each part's commit, in seconds, and its rows.
        n_actors: actors that work at a time.

    Raises:
        WorkerFailed: there are too few parts for a rate.
    """
    ordered = sorted(commits)
    steady = ordered[n_actors - 1 : len(ordered) - n_actors + 1]
    if len(steady) < 2 or steady[-1][0] <= steady[0][0]:
        raise WorkerFailed(f"{len(ordered)} parts are too few for a rate; take more rows")
    return sum(n_rows for _, n_rows in steady[1:]) / (steady[-1][0] - steady[0][0])


def measure_corpus(
    bundle: Path, *, rows: int, rounds: int, scaling_rows: int, command: str
) -> CorpusResults:
    """Measure the peak, runs on this machine, and runs on one node and two.

    Raises:
        WorkerFailed: a run or a cluster failed.
        HazgateError: the bundle cannot be opened.
    """
    opened = Bundle.open(bundle)
    n_actors = n_processors()
    with tempfile.TemporaryDirectory() as scratch:
        file, part = Path(scratch) / "all.jsonl", Path(scratch) / "some.jsonl"
        write_corpus(file, rows)
        write_corpus(part, scaling_rows)
        measured: list[CorpusRound] = []
        peak = _peak(bundle, file, n_actors)
        variant = ""
        for n in range(rounds):
            click.echo(f"round {n + 1} of {rounds}: {rows} rows", err=True)
            run, variant = _run(bundle, file, Path(scratch) / f"out-{n}", n_actors)
            after = _peak(bundle, file, n_actors)
            measured.append(CorpusRound(peak_before=peak, peak_after=after, run=run))
            peak = after
        scaling = [_scale(bundle, part, Path(scratch) / f"scaled-{n}") for n in range(rounds)]
        return CorpusResults(
            header=header(
                opened.manifest.name,
                command,
                digest=opened.digest,
                threads=1,
                distributions=("ray", "pyarrow"),
            ),
            variant=variant,
            n_actors=n_actors,
            n_rows=rows,
            n_bytes=file.stat().st_size,
            rounds=tuple(measured),
            scaling=tuple(scaling),
        )


def corpus_table(results: CorpusResults) -> str:
    """Return two tables: this machine, and a second node."""
    runs = [each.run for each in results.rounds]
    head = (
        "engine's peak in process, texts/s",
        "`hazgate corpus`, rows/s",
        "of the peak",
        "first part s",
        "whole run s",
        "driver MB",
        "an actor MB",
        "Ray itself MB",
    )
    peaks = [peak for each in results.rounds for peak in (each.peak_before, each.peak_after)]
    row = (
        spread_text(spread(peaks), 1, 0),
        spread_text(spread([run.rows_per_s for run in runs]), 1, 0),
        spread_text(spread([100 * each.share for each in results.rounds]), 1, 1) + " %",
        spread_text(spread([run.first_part_s for run in runs]), 1, 1),
        spread_text(spread([run.total_s for run in runs]), 1, 0),
        f"{max(run.driver_rss_bytes for run in runs) / 1e6:.0f}",
        f"{max(run.actor_rss_bytes for run in runs) / 1e6:.0f}",
        f"{max(run.ray_rss_bytes for run in runs) / 1e6:.0f}",
    )
    nodes = (
        f"{results.scaling[0].one.n_rows}",
        spread_text(spread([each.one.rows_per_s for each in results.scaling]), 1, 0),
        spread_text(spread([each.two.rows_per_s for each in results.scaling]), 1, 0),
        spread_text(spread([each.speedup for each in results.scaling]), 1, 2) + "×",
    )
    run = results.header
    return (
        f"`{run.name}` {results.variant} on {run.host.summary}: {results.n_rows} short "
        f"texts, {results.n_bytes / 1e6:.0f} MB of JSON Lines, {results.n_actors} actors of one "
        f"thread; median of {len(results.rounds)} rounds [least–greatest], peaks of resident sets. "
        f"{run.origin}\n\n{table(head, [row])}\n\n"
        "On a Ray of nodes with one processor each:\n\n"
        f"{table(('rows', 'one node, rows/s', 'two nodes, rows/s', 'speedup'), [nodes])}"
    )


def _peak(bundle: Path, file: Path, workers: int) -> float:
    request = {
        "bundle": str(bundle),
        "file": str(file),
        "n_texts": _N_PEAK_TEXTS,
        "workers": workers,
    }
    found = run_once("the engine's peak", ["-m", "benchmarks.corpus.peak"], json.dumps(request))
    return found["texts_per_s"]


def _scale(bundle: Path, file: Path, output: Path) -> Scaling:
    click.echo("one node and two", err=True)
    runs = []
    for n_nodes in (1, 2):
        with cluster_of(n_nodes) as nodes:
            target = output.with_name(f"{output.name}-{n_nodes}")
            run, _ = _run(bundle, file, target, n_nodes, nodes)
            runs.append(run)
    return Scaling(one=runs[0], two=runs[1])


def _run(
    bundle: Path, file: Path, output: Path, n_actors: int, nodes: RayCluster | None = None
) -> tuple[CorpusRun, str]:
    """Make one run; return it and the variant that it chose."""
    command = [sys.executable, "-m", "hazgate", "corpus", str(bundle), "--input", str(file)]
    command += ["--output", str(output), "--actors", str(n_actors)]
    if nodes is not None:
        command += ["--address", nodes.address]
    environment = nodes.environment if nodes else os.environ
    began = time.time()
    driver, actor, others = 0, 0, 0
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdout=log, stderr=log, env=dict(environment)
        ) as process,
    ):
        try:
            while process.poll() is None:
                time.sleep(_SAMPLE_S)
                sizes = list(_resident(process.pid))
                driver = max([driver, *(size for kind, size in sizes if kind == "driver")])
                actor = max([actor, *(size for kind, size in sizes if kind == "actor")])
                others = max(others, sum(size for kind, size in sizes if kind == "ray"))
        finally:
            # Its Ray ends with it, also when the benchmark is interrupted.
            process.kill()
        total_s = time.time() - began
        if process.returncode:
            log.seek(0)
            raise WorkerFailed(f"hazgate corpus: {log.read().strip()[-500:]}")
    summary = json.loads((output / "_summary.json").read_text())
    parts = sorted((output / "parts").iterdir())
    commits = [(part.stat().st_mtime, pq.read_metadata(part).num_rows) for part in parts]
    run = CorpusRun(
        n_rows=summary["tally"]["rows_out"],
        rows_per_s=rate_of(commits, n_actors),
        first_part_s=min(at for at, _ in commits) - began,
        total_s=total_s,
        driver_rss_bytes=driver,
        actor_rss_bytes=actor,
        ray_rss_bytes=others,
    )
    return run, summary["judge"]["variant"]


def _resident(pid: int) -> Iterator[tuple[str, int]]:
    """Yield the resident sets of a command and of all that it started, by their kind."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        yield "driver", psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return
    for child in children:
        with suppress(psutil.NoSuchProcess):
            is_actor = any("_Scorer" in word for word in child.cmdline())
            yield "actor" if is_actor else "ray", child.memory_info().rss


@click.command(epilog="Example: python -m benchmarks.corpus.run --rows 500000 --rounds 2")
@click.option("--rows", type=click.IntRange(min=1), default=500_000, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--scaling-rows", type=click.IntRange(min=1), default=80_000, show_default=True)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=RESULTS / "corpus-mini.json",
    help="Results file.  [default: benchmarks/results/corpus-mini.json]",
)
@refusals()
def main(rows: int, rounds: int, scaling_rows: int, results: Path) -> None:
    """Measure `hazgate corpus` on build/mini, write the results and print the tables."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found = measure_corpus(
        REPOSITORY / "build" / "mini",
        rows=rows,
        rounds=rounds,
        scaling_rows=scaling_rows,
        command=f"python -m benchmarks.corpus.run --rows {rows} --rounds {rounds} "
        f"--scaling-rows {scaling_rows}",
    )
    publish(found, results, corpus_table)


REGIONS: Regions = {"corpus": region("corpus-mini.json", CorpusResults, corpus_table)}


if __name__ == "__main__":
    main()
