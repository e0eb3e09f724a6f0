"""`python -m benchmarks.memory.footprint`: size on disk, first verdict, resident memory.

What a gateway pays before it answers and while it runs, for every variant of a bundle, each start
in a fresh process, variants in turn.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.machine import Machine, describe_machine, today
from benchmarks.harness.markdown import spread_text, table
from benchmarks.harness.process import REPOSITORY, run_once
from benchmarks.harness.statistics import Spread, spread
from benchmarks.harness.store import DISTRIBUTIONS, RESULTS, SCHEMA_VERSION, load, save
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track
from hazgate.engine.providers.table import CPU
from hazgate.engine.session import default_threads
from hazgate.errors import HazgateError
from hazgate_export.proof.texts import load_proof_texts

_N_TEXTS = 100
_FIGURES = ("import_s", "first_verdict_s", "rss_bytes", "anonymous_bytes", "peak_rss_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantFootprint:
    """One variant, both levels.

    `size_bytes` are the files that it reads, what the levels share counted once. `rss_bytes` is
    the resident set after the first verdict and `n_texts` more, `anonymous_bytes` the part of it
    that no other process can share. Times are in seconds, `first_verdict_s` from the start of
    the process.
    """

    variant: str
    size_bytes: int
    import_s: Spread
    first_verdict_s: Spread
    rss_bytes: Spread
    anonymous_bytes: Spread
    peak_rss_bytes: Spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """Everything that one run measured."""

    schema_version: int
    name: str
    bundle_digest: str
    date: str
    command: str
    machine: Machine
    threads: int
    n_starts: int
    n_texts: int
    variants: tuple[VariantFootprint, ...]


def measure_footprint(
    path: Path, variants: Sequence[str], *, starts: int, threads: int, command: str
) -> Footprint:
    """Starts every variant `starts` times, in turn.

    Raises:
        WorkerFailed: a start did not end well.
        BundleError: the bundle cannot be opened, or lacks a variant.
    """
    bundle = Bundle.open(path)
    texts = [text.text for text in load_proof_texts()][:_N_TEXTS]
    found: dict[str, list[Mapping[str, float]]] = {variant: [] for variant in variants}
    # The first start of each reads the files into the page cache and is not counted.
    turns = [(n, variant) for n in range(starts + 1) for variant in variants]
    for n, variant in track(turns, f"start {bundle.manifest.name}, {starts} times a variant"):
        figures = _start(path, variant, texts, threads)
        if n:
            found[variant].append(figures)
    return Footprint(
        schema_version=SCHEMA_VERSION,
        name=bundle.manifest.name,
        bundle_digest=bundle.digest,
        date=today(),
        command=command,
        machine=describe_machine(DISTRIBUTIONS),
        threads=threads,
        n_starts=starts,
        n_texts=len(texts),
        variants=tuple(
            VariantFootprint(
                variant=variant,
                size_bytes=sum(
                    bundle.manifest.files[name].size_bytes
                    for name in bundle.manifest.files_of(variant)
                ),
                **{key: spread([f[key] for f in figures]) for key in _FIGURES},
            )
            for variant, figures in found.items()
        ),
    )


def footprint_table(results: Footprint) -> str:
    """The variants in Markdown: medians over the starts, with the least and the greatest."""
    head = (
        "both levels",
        "disk MB",
        "import hazgate s",
        "first verdict s after process start",
        f"resident MB after {results.n_texts} texts",
        "of that unshared MB",
    )
    body = [
        (
            f"hazgate {v.variant}",
            f"{v.size_bytes / 1e6:.0f}",
            spread_text(v.import_s, 1, 2),
            spread_text(v.first_verdict_s, 1, 2),
            spread_text(v.rss_bytes, 1e6, 0),
            spread_text(v.anonymous_bytes, 1e6, 0),
        )
        for v in results.variants
    ]
    return (
        f"`{results.name}`, {results.threads} threads on {results.machine.summary}; median of "
        f"{results.n_starts} starts, files in the page cache. {results.date}, "
        f"`{results.command}`.\n\n{table(head, body)}"
    )


def _start(path: Path, variant: str, texts: Sequence[str], threads: int) -> Mapping[str, float]:
    request_data = {"bundle": str(path), "variant": variant, "threads": threads, "texts": texts}
    request = json.dumps(request_data | {"began": time.time()})
    return run_once(f"start of {variant}", ["-m", "benchmarks.memory.starting"], request)


@click.command(epilog="Example: python -m benchmarks.memory.footprint --size mini")
@click.option("--size", type=click.Choice(["mini", "full"]), default="mini", show_default=True)
@click.option("--starts", type=click.IntRange(min=1), default=5, show_default=True)
def footprint(size: str, starts: int) -> None:
    """Measure `build/mini`, or with `full` the bundle of `make rehearse`, and print the table."""
    path = REPOSITORY / "build" / ("rehearsal/bundle" if size == "full" else "mini")
    target = RESULTS / f"footprint-{size}.json"
    try:
        level = next(iter(Bundle.open(path).manifest.levels.values()))
        variants = [n for n, v in level.variants.items() if CPU in v.execution_providers]
        results = measure_footprint(
            path.resolve(),
            variants,
            starts=starts,
            threads=default_threads(),
            command=f"python -m benchmarks.memory.footprint --size {size} --starts {starts}",
        )
    except (BenchmarkError, HazgateError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    save(results, target)
    click.echo(f"{footprint_table(load(Footprint, target))}\n\n{target}")


if __name__ == "__main__":
    footprint()
