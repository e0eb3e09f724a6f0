"""`python -m benchmarks.memory.footprint`: size on disk, first verdict, resident memory.

It measures each variant of a bundle before its first answer and while it runs. Each start has a
fresh process; variants take turns.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.markdown import spread_text, table
from benchmarks.harness.process import REPOSITORY, run_once
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.statistics import RoundSpread, spread
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.harness.texts import proof_texts
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track
from hazgate.engine.processor import n_processors
from hazgate.engine.providers.table import CPU

_N_TEXTS = 100
_FIGURES = ("import_s", "first_verdict_s", "rss_bytes", "anonymous_bytes", "peak_rss_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantFootprint:
    """One variant, both levels.

    `size_bytes` is the size of its files; files that both levels share count once. `rss_bytes` is
    the resident set after the first verdict and `n_texts` more, `anonymous_bytes` the part that
    no other process can share. `first_verdict_s` is from the start of the process.
    """

    variant: str
    size_bytes: int
    import_s: RoundSpread
    first_verdict_s: RoundSpread
    rss_bytes: RoundSpread
    anonymous_bytes: RoundSpread
    peak_rss_bytes: RoundSpread


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """All that one run measured."""

    header: ResultHeader
    n_starts: int
    n_texts: int
    variants: tuple[VariantFootprint, ...]


def measure_footprint(
    path: Path, variants: Sequence[str], *, starts: int, threads: int, command: str
) -> Footprint:
    """Start every variant `starts` times, in turn.

    Raises:
        WorkerFailed: a start failed.
        BundleError: the bundle cannot be opened, or lacks a variant.
    """
    bundle = Bundle.open(path)
    texts = proof_texts()[:_N_TEXTS]
    found: dict[str, list[Mapping[str, float]]] = {variant: [] for variant in variants}
    # The first start of each fills the page cache and is not counted.
    turns = [(n, variant) for n in range(starts + 1) for variant in variants]
    for n, variant in track(turns, f"start {bundle.manifest.name}, {starts} times a variant"):
        figures = _start(path, variant, texts, threads)
        if n:
            found[variant].append(figures)
    return Footprint(
        header=header(bundle.manifest.name, command, digest=bundle.digest, threads=threads),
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
    """Return the variants in Markdown: medians over the starts, with least and greatest."""
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
    run = results.header
    return (
        f"`{run.name}`, {run.threads} threads on {run.host.summary}; median of {results.n_starts} "
        f"starts, files in the page cache. {run.origin}\n\n{table(head, body)}"
    )


def _start(path: Path, variant: str, texts: Sequence[str], threads: int) -> Mapping[str, float]:
    request_data = {"bundle": str(path), "variant": variant, "threads": threads, "texts": texts}
    request = json.dumps(request_data | {"began": time.time()})
    return run_once(f"start of {variant}", ["-m", "benchmarks.memory.starting"], request)


@click.command(epilog="Example: python -m benchmarks.memory.footprint --size mini")
@click.option("--size", type=click.Choice(["mini", "full"]), default="mini", show_default=True)
@click.option("--starts", type=click.IntRange(min=1), default=5, show_default=True)
@refusals()
def footprint(size: str, starts: int) -> None:
    """Measure `build/mini`, or with `full` the bundle of `make rehearse`, and print the table."""
    path = REPOSITORY / "build" / ("rehearsal/bundle" if size == "full" else "mini")
    level = next(iter(Bundle.open(path).manifest.levels.values()))
    variants = [n for n, v in level.variants.items() if CPU in v.execution_providers]
    results = measure_footprint(
        path.resolve(),
        variants,
        starts=starts,
        threads=n_processors(),
        command=f"python -m benchmarks.memory.footprint --size {size} --starts {starts}",
    )
    publish(results, RESULTS / f"footprint-{size}.json", footprint_table)


REGIONS: Regions = {
    f"footprint-{size}": region(f"footprint-{size}.json", Footprint, footprint_table)
    for size in ("mini", "full")
}


if __name__ == "__main__":
    footprint()
