"""`python -m benchmarks.engines.session_options`: costs of ONNX Runtime's session options.

The first row has the runtime's own options; every other row changes one of them. Each row runs in
a fresh process; rows take turns.
"""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.markdown import table
from benchmarks.harness.process import REPOSITORY, run_once
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.statistics import RoundSpread, speedup, spread
from benchmarks.harness.stopwatch import median_seconds
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.harness.worker import status_bytes
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track
from hazgate.engine.processor import n_processors
from hazgate.engine.providers.table import CPU
from hazgate.engine.session import session_options

_SHORT_TOKENS, _LONG_TOKENS = 16, 128
_N_CALLS = 40
_N_STREAM = 100
_PAUSE_S = 0.02
_SEED = 20265


def _as_they_are(_: Any) -> None:  # noqa: ANN401 - a library without types
    pass


def _no_spinning(options: Any) -> None:  # noqa: ANN401 - a library without types
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")


def _spin_while_running(options: Any) -> None:  # noqa: ANN401
    options.add_session_config_entry("session.force_spinning_stop", "1")


def _no_arena(options: Any) -> None:  # noqa: ANN401
    options.enable_cpu_mem_arena = False


def _no_patterns(options: Any) -> None:  # noqa: ANN401
    options.enable_mem_pattern = False


def _denormals(options: Any) -> None:  # noqa: ANN401
    options.add_session_config_entry("session.set_denormal_as_zero", "1")


def _fusions(options: Any) -> None:  # noqa: ANN401
    import onnxruntime

    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def _u8_weights(options: Any) -> None:  # noqa: ANN401
    _fusions(options)
    options.add_session_config_entry("session.x64quantprecision", "1")


CHANGES: Mapping[str, Callable[[Any], None]] = {
    "as the runtime sets them": _as_they_are,
    "threads do not spin": _no_spinning,
    "threads spin during a run only": _spin_while_running,
    "no memory arena": _no_arena,
    "no memory patterns": _no_patterns,
    "denormals as zero": _denormals,
    "all of ONNX Runtime's fusions": _fusions,
    "all fusions, u8 weights (x64quantprecision)": _u8_weights,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionFigures:
    """One row: medians over the rounds.

    Times are of one run of short and long texts. `cpu_per_wall` is processor seconds per second
    of wall time while short texts arrive with pauses; `rss_bytes` is the resident set after a
    stream of mixed lengths.
    """

    name: str
    short_ms: RoundSpread
    long_ms: RoundSpread
    speedup_short: RoundSpread
    cpu_per_wall: RoundSpread
    rss_bytes: RoundSpread


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionComparison:
    """All that one run measured."""

    header: ResultHeader
    graph: str
    rows: tuple[OptionFigures, ...]


def option_table(results: OptionComparison) -> str:
    """Return the rows in Markdown."""
    head = (
        "session options",
        f"{_SHORT_TOKENS} tokens, ms",
        f"{_LONG_TOKENS} tokens, ms",
        f"speed at {_SHORT_TOKENS} vs ours",
        "processors busy with pauses between texts",
        "resident MB after mixed lengths",
    )
    body = [
        (
            row.name,
            f"{row.short_ms.median:.2f}",
            f"{row.long_ms.median:.2f}",
            f"{row.speedup_short.median:.2f}",
            f"{row.cpu_per_wall.median:.2f}",
            f"{row.rss_bytes.median / 1e6:.0f}",
        )
        for row in results.rows
    ]
    run = results.header
    return (
        f"`{results.graph}` of `{run.name}`, {run.threads} threads on "
        f"{run.host.summary}. {run.origin}\n\n{table(head, body)}"
    )


def compare_options(
    bundle: Bundle, graph: str, *, rounds: int, threads: int, command: str
) -> OptionComparison:
    """Run every row `rounds` times.

    Raises:
        WorkerFailed: a row's process failed.
    """
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in CHANGES}
    for _, name in track([(n, name) for n in range(rounds) for name in CHANGES], "session options"):
        found[name].append(_run_row(bundle.file(graph), name, threads))

    def figures(name: str, key: str) -> list[float]:
        return [row[key] for row in found[name]]

    first = next(iter(CHANGES))
    return OptionComparison(
        header=header(bundle.manifest.name, command, digest=bundle.digest, threads=threads),
        graph=graph,
        rows=tuple(
            OptionFigures(
                name=name,
                short_ms=spread(figures(name, "short_ms")),
                long_ms=spread(figures(name, "long_ms")),
                speedup_short=speedup(figures(first, "short_ms"), figures(name, "short_ms")),
                cpu_per_wall=spread(figures(name, "cpu_per_wall")),
                rss_bytes=spread(figures(name, "rss_bytes")),
            )
            for name in CHANGES
        ),
    )


def _run_row(graph: Path, name: str, threads: int) -> Mapping[str, float]:
    arguments = ("--row", name, "--graph", str(graph), "--threads", str(threads))
    return run_once(
        f"session options, {name}", ["-m", "benchmarks.engines.session_options", *arguments]
    )


def measure_row(graph: Path, name: str, threads: int) -> Mapping[str, float]:
    """Measure one row in this process; keys are the fields of `OptionFigures`."""
    import onnxruntime

    options = session_options(onnxruntime, "authored", threads)
    CHANGES[name](options)
    session = onnxruntime.InferenceSession(str(graph), options, providers=[CPU])

    def run(tokens: int) -> None:
        ids = np.arange(5, 5 + tokens, dtype=np.int64)[None]
        session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    def median_ms(tokens: int) -> float:
        for _ in range(5):
            run(tokens)
        return 1e3 * median_seconds(lambda: run(tokens), _N_CALLS)

    short_ms, long_ms = median_ms(_SHORT_TOKENS), median_ms(_LONG_TOKENS)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(_N_CALLS):
        run(_SHORT_TOKENS)
        time.sleep(_PAUSE_S)
    busy = (time.process_time() - cpu) / (time.perf_counter() - wall)
    lengths = random.Random(_SEED)  # noqa: S311 - not for secrets
    for _ in range(_N_STREAM):
        run(lengths.randint(8, 256))
    return {
        "short_ms": short_ms,
        "long_ms": long_ms,
        "cpu_per_wall": busy,
        "rss_bytes": status_bytes("VmRSS"),
    }


@click.command(epilog="Example: python -m benchmarks.engines.session_options --size mini")
@click.option("--size", type=click.Choice(["mini", "full"]), default="mini", show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="[default: every processor]")
@click.option("--row", type=click.Choice(list(CHANGES)), hidden=True)
@click.option("--graph", type=click.Path(path_type=Path), hidden=True)
@refusals()
def run(size: str, rounds: int, threads: int | None, row: str | None, graph: Path | None) -> None:
    """Measure the int8 graph of Level 2 in `build/mini`, or in the bundle of `make rehearse`."""
    budget = threads or n_processors()
    if row is not None and graph is not None:
        click.echo(json.dumps(measure_row(graph, row, budget)))
        return
    path = REPOSITORY / "build" / ("rehearsal/bundle" if size == "full" else "mini")
    results = compare_options(
        Bundle.open(path),
        "level2-int8.onnx",
        rounds=rounds,
        threads=budget,
        command=f"python -m benchmarks.engines.session_options --size {size} --rounds {rounds}",
    )
    publish(results, RESULTS / f"session-options-{size}.json", option_table)


REGIONS: Regions = {
    "session-options-mini": region("session-options-mini.json", OptionComparison, option_table)
}


if __name__ == "__main__":
    run()
