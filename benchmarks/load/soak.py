"""`python -m benchmarks.load.soak`: growth of a server's memory over half an hour.

A process of its own sends texts of many lengths to `hazgate serve` at a moderate rate. The
server's resident set is read every ten seconds.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import psutil
from matplotlib.figure import Figure

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.markdown import table
from benchmarks.harness.plots import save_figure
from benchmarks.harness.process import REPOSITORY, Worker, start_worker
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.server import serving
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.harness.texts import proof_texts, token_counts
from benchmarks.load.arrivals import DEADLINE_S, arrivals
from benchmarks.load.messages import (
    AskerReady,
    AskerRequest,
    AskerSetup,
    AskResults,
    OverHttp,
    Rate,
)
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track
from hazgate.engine.processor import n_processors
from hazgate_evaluation.plots import STYLES, draw_grid, style

SAMPLE_S = 10.0
# By then every buffer has reached its full size; growth is counted from there.
_SETTLED_S = 60.0
_LOAD = 0.5
_SEED = 20266
_N_TEXTS = 600
_MAX_JOINED = 24
_RATE_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SoakSample:
    """The state `at_s` seconds after the first request, and requests since the last sample."""

    at_s: float
    rss_bytes: int
    answered: int
    failed: int
    late: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SoakResults:
    """All that one run measured; token counts are of the texts that were asked about."""

    header: ResultHeader
    variant: str
    deadline_s: float
    rate: float
    load: float
    median_tokens: int
    longest_tokens: int
    samples: tuple[SoakSample, ...]

    @property
    def growth(self) -> float | None:
        """Growth of the resident set, as a share, from the first minute's end to the run's."""
        return growth_of(self.samples)


def growth_of(samples: Sequence[SoakSample]) -> float | None:
    """Return the resident set's growth after the first minute, a share; None if too short."""
    settled = [sample for sample in samples if sample.at_s >= _SETTLED_S]
    if len(settled) < 2:
        return None
    return settled[-1].rss_bytes / settled[0].rss_bytes - 1


def mixed_texts(texts: Sequence[str], n: int, seed: int) -> list[str]:
    """Return texts of many lengths: each joins one or several of `texts`, mostly few."""
    random = np.random.default_rng(seed)
    n_joined = np.minimum(random.geometric(0.4, size=n) ** 2, _MAX_JOINED)
    return [
        " ".join(texts[i] for i in random.integers(0, len(texts), size=count)) for count in n_joined
    ]


def sample_of(found: Sequence[float | None], at_s: float, rss_bytes: int) -> SoakSample:
    """Return one sample; `found` is as `offer` returns it."""
    late = sum(taken is None for taken in found)
    failed = sum(taken is not None and math.isnan(taken) for taken in found)
    return SoakSample(
        at_s=at_s,
        rss_bytes=rss_bytes,
        answered=len(found) - late - failed,
        failed=failed,
        late=late,
    )


def measure_soak(
    bundle: Path, variant: str, *, minutes: float, threads: int, command: str
) -> SoakResults:
    """Keep a server busy for some minutes.

    Raises:
        HazgateError: the bundle cannot be served.
        WorkerFailed: the server did not start, or the asker ended.
    """
    opened = Bundle.open(bundle)
    texts = mixed_texts(proof_texts(), _N_TEXTS, _SEED)
    lengths = token_counts(opened, texts)
    with _asked_server(bundle, variant, texts, threads) as (worker, rss_bytes):
        request = AskerRequest(action="saturate", n_askers=1, seconds=_RATE_S)
        rate = _LOAD * worker.ask(request, Rate).answers_per_s
        samples = tuple(_sample(worker, rss_bytes, rate, math.ceil(60 * minutes / SAMPLE_S)))
    return SoakResults(
        header=header(opened.manifest.name, command, digest=opened.digest, threads=threads),
        variant=variant,
        deadline_s=DEADLINE_S,
        rate=rate,
        load=_LOAD,
        median_tokens=int(np.median(lengths)),
        longest_tokens=max(lengths),
        samples=samples,
    )


@contextmanager
def _asked_server(
    bundle: Path, variant: str, texts: Sequence[str], threads: int
) -> Iterator[tuple[Worker, Callable[[], int]]]:
    """Yield an asker of a running server, and a function that reads its resident set."""
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "serve.toml"
        config.write_text(
            f'[engine]\nvariant = "{variant}"\nthreads = {threads}\n', encoding="utf-8"
        )
        with (
            serving(bundle, "--config", config) as server,
            start_worker("asker", ["-m", "benchmarks.load.asker"], threads=threads) as worker,
        ):
            http = OverHttp(port=server.port, path="/v1/check", text_field="text")
            worker.ask(AskerSetup(texts=tuple(texts), http=http), AskerReady)
            process = psutil.Process(server.process.pid)
            yield worker, lambda: int(process.memory_info().rss)


def _sample(
    worker: Worker, rss_bytes: Callable[[], int], rate: float, n_samples: int
) -> Iterator[SoakSample]:
    begin = time.monotonic()
    n_asked = 0
    for n in track(list(range(n_samples)), f"{rate:.0f} texts a second"):
        times = tuple(arrivals(rate, SAMPLE_S, _SEED + n))
        request = AskerRequest(action="offer", times=times, first=n_asked % _N_TEXTS)
        found = worker.ask(request, AskResults)
        n_asked += len(times)
        # The last arrival comes some time before the end of the ten seconds.
        time.sleep(max(0.0, begin + (n + 1) * SAMPLE_S - time.monotonic()))
        yield sample_of(found.taken_s, time.monotonic() - begin, rss_bytes())


def soak_table(results: SoakResults) -> str:
    """Return the run in one row."""
    head = (
        "minutes",
        "texts asked",
        "answered in time",
        "late",
        "failed or refused",
        "resident MB after the first minute",
        "at the end",
        "growth",
    )
    samples = results.samples
    settled = [sample for sample in samples if sample.at_s >= _SETTLED_S] or list(samples)
    answered, late, failed = (
        sum(getattr(sample, name) for sample in samples) for name in ("answered", "late", "failed")
    )
    growth = results.growth
    row = (
        f"{samples[-1].at_s / 60:.0f}",
        str(answered + late + failed),
        str(answered),
        str(late),
        str(failed),
        f"{settled[0].rss_bytes / 1e6:.1f}",
        f"{settled[-1].rss_bytes / 1e6:.1f}",
        "–" if growth is None else f"{growth:+.1%}",
    )
    run = results.header
    return (
        f"`hazgate serve` of `{run.name}` {results.variant} on {run.host.summary}, "
        f"{run.threads} threads: {results.rate:.0f} texts a second, {results.load:g} of what "
        f"one caller gets, median {results.median_tokens} tokens, longest "
        f"{results.longest_tokens}; in time is within {1e3 * results.deadline_s:.0f} ms. "
        f"{run.origin}\n\n{table(head, [row])}"
    )


def soak_figure(results: SoakResults) -> Figure:
    """Draw the resident set over time."""
    with style():
        figure = Figure(figsize=(7.2, 3.2), dpi=150, layout="constrained")
        axes = figure.subplots()
        colour, _ = STYLES[0]
        minutes = [sample.at_s / 60 for sample in results.samples]
        resident_mb = [sample.rss_bytes / 1e6 for sample in results.samples]
        axes.plot(minutes, resident_mb, color=colour)
        axes.axvline(_SETTLED_S / 60, color="#888888", linewidth=0.8, linestyle="--")
        axes.set_xlim(left=0)
        axes.set(xlabel="minutes", ylabel="resident MB", ylim=(0, 1.1 * max(resident_mb)))
        draw_grid(axes)
        return figure


def draw_soak(results: SoakResults, file: Path) -> None:
    """Write the figure as a PNG."""
    save_figure(soak_figure(results), file)


@click.command(epilog="Example: python -m benchmarks.load.soak --minutes 30")
@click.option("--minutes", type=click.FloatRange(min=0.5), default=30, show_default=True)
@click.option("--variant", default="int8-fused", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="[default: every processor]")
@refusals()
def main(minutes: float, variant: str, threads: int | None) -> None:
    """Keep `hazgate serve build/mini` busy, write the results, print the table, draw the figure."""
    results = measure_soak(
        REPOSITORY / "build" / "mini",
        variant,
        minutes=minutes,
        threads=threads or n_processors(),
        command=f"python -m benchmarks.load.soak --minutes {minutes:g} --variant {variant}",
    )
    publish(results, RESULTS / "soak-mini.json", soak_table, draw_soak)


REGIONS: Regions = {"soak-mini": region("soak-mini.json", SoakResults, soak_table)}


if __name__ == "__main__":
    main()
