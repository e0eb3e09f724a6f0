"""`python -m benchmarks.engines.roofline`: operators of a layer, ONNX Runtime's, and limits."""

import statistics
from collections.abc import Sequence

import click
import numpy as np

import hazgate_kernels
from benchmarks.engines.roofline.nodes import STEPS, LayerStep, chain, onnxruntimes, ours
from benchmarks.engines.roofline.peaks import measure_peaks
from benchmarks.engines.roofline.report import draw_roofline, roofline_table
from benchmarks.engines.roofline.results import Roofline, StepTimes
from benchmarks.harness.command import publish, refusals
from benchmarks.harness.stopwatch import median_seconds
from benchmarks.harness.store import RESULTS, header
from hazgate.cli.progress import track
from hazgate.engine.processor import n_processors

_NAME = "mmBERT-base"
_TOKENS = (16, 64, 128, 512, 2048)
_CHAINS, _CHAIN_CALLS = (10, 210), 300
_COMMAND = "python -m benchmarks.engines.roofline"


@click.command(epilog=f"Example: {_COMMAND}")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@refusals()
def main(rounds: int) -> None:
    """Time the operators of one layer of mmBERT-base's shape, and print the table.

    Writes results/roofline.json and draws results/roofline.png.
    """
    threads = n_processors()
    peaks = measure_peaks(threads)
    node_us = _measure_node_us(threads, rounds)
    runs = [(step, tokens) for step in STEPS for tokens in _TOKENS]
    results = Roofline(
        header=header(_NAME, _COMMAND, threads=threads),
        instruction_set=hazgate_kernels.instruction_set(),
        peaks=peaks,
        node_us=node_us,
        steps=tuple(
            _measure_step(step, tokens, threads, rounds)
            for step, tokens in track(runs, "operators")
        ),
    )
    publish(results, RESULTS / "roofline.json", roofline_table, draw_roofline)


def _measure_step(step: LayerStep, tokens: int, threads: int, rounds: int) -> StepTimes:
    runnables = [make(step, tokens, threads) for make in (ours, onnxruntimes)]
    n_calls = max(3, 4000 // (tokens + 10))
    for runnable in runnables:
        runnable.run()
    rounds_s: Sequence[Sequence[float]] = [
        [median_seconds(runnable.run, n_calls) for runnable in runnables] for _ in range(rounds)
    ]
    ours_s, theirs_s = (float(n) for n in np.median(rounds_s, axis=0))
    return StepTimes(
        name=step.name,
        title=step.title,
        kind=step.kind,
        tokens=tokens,
        ours_ms=1e3 * ours_s,
        onnxruntime_ms=1e3 * theirs_s,
        operations=step.operations(tokens),
        moved_bytes=step.moved_bytes(tokens),
    )


def _measure_node_us(threads: int, rounds: int) -> float:
    """Return the microseconds that each further node adds to a graph's time."""
    short, long = (chain(n, threads) for n in _CHAINS)
    added = []
    for _ in range(rounds):
        short_s, long_s = (median_seconds(one.run, _CHAIN_CALLS) for one in (short, long))
        added.append(1e6 * (long_s - short_s) / (_CHAINS[1] - _CHAINS[0]))
    return statistics.median(added)


if __name__ == "__main__":
    main()
