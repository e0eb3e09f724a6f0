"""`python -m benchmarks.quality.gpu_report`: one report of a bundle on this host's GPU.

For users with the hardware: the doctor, compile times, answers compared with the CPU's, latency
by shape and by callers at once. Writes JSON and Markdown to send back. It runs on any provider,
also on the CPU.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import click
import numpy as np

from benchmarks.harness.command import refusals
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions
from benchmarks.harness.statistics import Percentiles, percentiles
from benchmarks.harness.stopwatch import seconds_of, seconds_of_each
from benchmarks.harness.store import ResultHeader, header, load, save
from benchmarks.harness.texts import proof_texts
from hazgate import Gate
from hazgate.cli.progress import track
from hazgate.doctor import Diagnosis, diagnose
from hazgate.engine.buckets import Bucket, parse_bucket
from hazgate.engine.options import EngineOptions, Shapes
from hazgate.engine.session import ort_host
from hazgate.engine.static_shapes import OpenedBucket

_LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
_ROWS = (1, 8)
_CALLERS = (1, 2, 4, 8)
_FIRST_ID, _LAST_ID = 5, 500
_N_WARM_UP = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """Seconds that a level's bucket took to open and prove; `again_s` from kept programs."""

    level: str
    bucket: str
    first_s: float
    again_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapeLatency:
    """Level 1 on rows of random ids, one call after another."""

    rows: int
    tokens: int
    latency: Percentiles


@dataclass(frozen=True, kw_only=True, slots=True)
class Concurrency:
    """Throughput of threads that ask about proof texts at once."""

    callers: int
    texts_per_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CpuAgreement:
    """Answers of both levels, compared with the CPU's in float32."""

    n_texts: int
    max_abs_probability_diff: float
    flags_changed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuReport:
    """All that was found; nothing in it identifies the host."""

    header: ResultHeader
    variant: str
    provider: str
    gfx: tuple[str, ...]
    rocm: str | None
    distributions: dict[str, str]
    diagnosis: Diagnosis
    compiled: tuple[Compiled, ...]
    beside_cpu: CpuAgreement
    latencies: tuple[ShapeLatency, ...]
    concurrency: tuple[Concurrency, ...]


def measure_gpu(
    bundle: Path,
    *,
    providers: str | Sequence[str],
    shapes: Shapes,
    calls: int,
    workers: int,
    command: str,
) -> GpuReport:
    """Measure a bundle in this process.

    Raises:
        HazgateError: the bundle cannot be served so; `hazgate doctor` says more.
    """
    host = ort_host()
    opened: list[list[tuple[str, OpenedBucket]]] = []

    def open_gate() -> Gate:
        times: list[tuple[str, OpenedBucket]] = []
        gate = Gate.open(
            bundle,
            engine=EngineOptions(
                providers=providers,
                workers=workers,
                shapes=Shapes(
                    buckets=shapes.buckets,
                    programs=shapes.programs,
                    on_open=lambda level, bucket: times.append((level, bucket)),
                ),
            ),
        )
        opened.append(times)
        return gate

    gate = open_gate()
    if shapes.programs is not None:
        gate = open_gate()
    diagnosis = diagnose(bundle, EngineOptions(providers=providers, shapes=shapes))
    texts = proof_texts()
    longest = gate.level1.tokenizer.window_tokens
    runs = [(rows, n) for rows in _ROWS for n in _LENGTHS if n <= longest]
    return GpuReport(
        header=header(gate.model.bundle, command, digest=gate.model.digest),
        variant=gate.model.variant,
        provider=gate.model.provider,
        gfx=host.amd_gpus,
        rocm=host.rocm,
        distributions={**host.distributions, **host.plug_ins},
        diagnosis=diagnosis,
        compiled=_compiled(opened),
        beside_cpu=_beside_cpu(gate, bundle, texts),
        latencies=tuple(
            _latency(gate, rows, tokens, calls) for rows, tokens in track(runs, "latency by shape")
        ),
        concurrency=tuple(
            _concurrency(gate, texts, callers) for callers in track(_CALLERS, "callers at once")
        ),
    )


def merged_report(file: Path) -> str:
    """Return a page's section of the report in `file`, or that there is none yet."""
    if not file.is_file():
        return "_No report has come in yet._"
    # Its title would become a title of the page.
    return gpu_report(load(GpuReport, file)).partition("\n")[2].strip()


def gpu_report(report: GpuReport) -> str:
    """Return the report as a page of Markdown."""
    checks = [(c.name, c.status, c.found) for c in report.diagnosis.checks]
    compiled = [
        (c.level, c.bucket, f"{c.first_s:.1f}", "–" if c.again_s is None else f"{c.again_s:.1f}")
        for c in report.compiled
    ]
    latencies = [
        (
            f"{item.rows} × {item.tokens}",
            f"{item.latency.p50_ms:.2f}",
            f"{item.latency.p95_ms:.2f}",
            f"{item.latency.p99_ms:.2f}",
            f"{1e3 * item.rows / item.latency.p50_ms:.0f}",
        )
        for item in report.latencies
    ]
    callers = [(str(item.callers), f"{item.texts_per_s:.1f}") for item in report.concurrency]
    agreed, run = report.beside_cpu, report.header
    parts = [
        f"# {run.name} {report.variant} on {report.provider}",
        f"{run.host.summary}; GPUs {', '.join(report.gfx) or 'none'}; ROCm "
        f"{report.rocm or 'none'}; bundle {(run.digest or 'unknown')[:12]}. {run.origin}",
        table(("check", "", "found"), checks),
        f"Compared with the CPU's float32 on {agreed.n_texts} texts, probabilities differ by at "
        f"most {agreed.max_abs_probability_diff:.1e}, {agreed.flags_changed} flags changed.",
        table(("rows × tokens", "p50 ms", "p95 ms", "p99 ms", "rows a second"), latencies),
        table(("callers at once", "texts a second"), callers),
    ]
    if compiled:
        head = ("level", "bucket", "first start, s", "from kept programs, s")
        parts.insert(3, table(head, compiled))
    return "\n\n".join(parts) + "\n"


def _compiled(opened: Sequence[Sequence[tuple[str, OpenedBucket]]]) -> tuple[Compiled, ...]:
    again = {(level, b.bucket): b.seconds for times in opened[1:] for level, b in times}
    return tuple(
        Compiled(
            level=level,
            bucket=str(bucket.bucket),
            first_s=bucket.seconds,
            again_s=again.get((level, bucket.bucket)),
        )
        for level, bucket in opened[0]
    )


def _beside_cpu(gate: Gate, bundle: Path, texts: Sequence[str]) -> CpuAgreement:
    variants = gate.bundle.manifest.levels[gate.level1.level].variants
    fp32 = next(name for name, variant in variants.items() if variant.precision == "fp32")
    cpu = Gate.open(bundle, engine=EngineOptions(variant=fp32), reading=gate.reading).check_many(
        texts, all_levels=True
    )
    own = gate.check_many(texts, all_levels=True)
    differences = [
        abs(mine - other)
        for a, b in zip(own, cpu, strict=True)
        for mine, other in zip(
            (a.unsafe, *(a.hazards or {}).values()),
            (b.unsafe, *(b.hazards or {}).values()),
            strict=True,
        )
    ]
    return CpuAgreement(
        n_texts=len(texts),
        max_abs_probability_diff=max(differences),
        flags_changed=sum(a.flagged != b.flagged for a, b in zip(own, cpu, strict=True)),
    )


def _latency(gate: Gate, rows: int, tokens: int, calls: int) -> ShapeLatency:
    random = np.random.default_rng(tokens)
    ids = random.integers(_FIRST_ID, _LAST_ID, size=(rows, tokens), dtype=np.int64)
    mask = np.ones_like(ids)
    run = repeat(lambda: gate.level1.session.run(ids, mask), calls + _N_WARM_UP)
    taken = seconds_of_each(run)
    return ShapeLatency(rows=rows, tokens=tokens, latency=percentiles(taken[_N_WARM_UP:]))


def _concurrency(gate: Gate, texts: Sequence[str], callers: int) -> Concurrency:
    with ThreadPoolExecutor(max_workers=callers) as pool:
        # The list makes a failure of any caller this run's failure.
        seconds = seconds_of(lambda: list(pool.map(gate.check, texts)))
    return Concurrency(callers=callers, texts_per_s=len(texts) / seconds)


@click.command(
    epilog="Example: python -m benchmarks.quality.gpu_report build/mlcommons --providers migraphx "
    "--programs build/programs --out build/amd-report"
)
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--providers",
    multiple=True,
    help="Preferred first; repeatable.  [default: auto]",
)
@click.option("--bucket", "buckets", multiple=True, help="A shape such as 8x512; repeatable.")
@click.option("--programs", type=click.Path(path_type=Path), help="Folder of compiled programs.")
@click.option("--calls", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/amd-report"))
@refusals()
def main(
    bundle: Path,
    providers: tuple[str, ...],
    buckets: tuple[str, ...],
    programs: Path | None,
    calls: int,
    workers: int,
    out: Path,
) -> None:
    """Measure BUNDLE on this host's provider; write OUT.json and OUT.md."""
    chosen: tuple[Bucket, ...] = tuple(map(parse_bucket, buckets))
    command = (
        f"python -m benchmarks.quality.gpu_report {bundle.name} --calls {calls} --workers {workers}"
    )
    report = measure_gpu(
        bundle,
        providers=providers or "auto",
        shapes=Shapes(buckets=chosen or None, programs=programs),
        calls=calls,
        workers=workers,
        command=command,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save(report, out.with_suffix(".json"))
    out.with_suffix(".md").write_text(gpu_report(report), encoding="utf-8")
    click.echo(gpu_report(report))


REGIONS: Regions = {"amd-report": lambda folder: merged_report(folder / "amd-report.json")}


if __name__ == "__main__":
    main()
