"""`python -m benchmarks.engines.roofline`: operators of a layer, ONNX Runtime's, and limits."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

import hazgate_kernels
from benchmarks.engines.roofline.nodes import STEPS, chain, onnxruntimes, ours
from benchmarks.engines.roofline.peaks import measure_peaks
from benchmarks.engines.roofline.report import draw_roofline, roofline_table
from benchmarks.engines.roofline.results import Roofline, StepTimes
from benchmarks.harness.machine import describe_machine, today
from benchmarks.harness.store import DISTRIBUTIONS, RESULTS, SCHEMA_VERSION, load, save
from hazgate.cli.progress import track
from hazgate.engine.session import default_threads
from hazgate.errors import HazgateError

_TOKENS = (16, 64, 128, 512, 2048)
_CHAINS, _CHAIN_CALLS = (10, 210), 300
_COMMAND = "python -m benchmarks.engines.roofline"


@click.command(epilog=f"Example: {_COMMAND}")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
def main(rounds: int) -> None:
    """Time the operators of one layer of mmBERT-base's shape, and print the table.

    Writes results/roofline.json and draws results/roofline.png.
    """
    threads = default_threads()
    try:
        peaks = measure_peaks(threads)
        node_us = _measure_node_us(threads, rounds)
        runs = [(step, tokens) for step in STEPS for tokens in _TOKENS]
        times = []
        for step, tokens in track(runs, "operators"):
            mine, other = (make(step, tokens, threads) for make in (ours, onnxruntimes))
            calls = max(3, 4000 // (tokens + 10))
            for runnable in (mine, other):
                runnable.run()
            rounds_ms = [
                tuple(_median_ms(runnable.run, calls) for runnable in (mine, other))
                for _ in range(rounds)
            ]
            ours_ms, theirs_ms = (float(n) for n in np.median(rounds_ms, axis=0))
            times.append(
                StepTimes(
                    name=step.name,
                    title=step.title,
                    kind=step.kind,
                    tokens=tokens,
                    ours_ms=ours_ms,
                    onnxruntime_ms=theirs_ms,
                    operations=step.operations(tokens),
                    moved_bytes=step.moved_bytes(tokens),
                )
            )
    except HazgateError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    results = Roofline(
        schema_version=SCHEMA_VERSION,
        date=today(),
        command=_COMMAND,
        machine=describe_machine(DISTRIBUTIONS),
        threads=threads,
        instruction_set=hazgate_kernels.instruction_set(),
        peaks=peaks,
        node_us=node_us,
        steps=tuple(times),
    )
    target: Path = RESULTS / "roofline.json"
    save(results, target)
    draw_roofline(load(Roofline, target), RESULTS / "roofline.png")
    click.echo(f"{roofline_table(load(Roofline, target))}\n\n{target}")


def _measure_node_us(threads: int, rounds: int) -> float:
    """What each further node of a graph adds to its time."""
    short, long = (chain(n, threads) for n in _CHAINS)
    added = []
    for _ in range(rounds):
        short_ms, long_ms = (_median_ms(one.run, _CHAIN_CALLS) for one in (short, long))
        added.append(1e3 * (long_ms - short_ms) / (_CHAINS[1] - _CHAINS[0]))
    return float(np.median(added))


def _median_ms(run: Callable[[], object], calls: int) -> float:
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return 1e3 * float(np.median(taken))


if __name__ == "__main__":
    main()
