"""`python -m benchmarks.attacks.soak`: half an hour of honest requests with attacks among them.

The server's resident set is read every ten seconds, as in `benchmarks.load.soak`. Attacks are all
that a client can do, one act after the other, at a share of the honest requests' rate.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.attacks.attacks import CLIENTS_ATTACKS
from benchmarks.attacks.measure import Battlefield, attacking, battlefield
from benchmarks.attacks.messages import AttackRequest
from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions
from benchmarks.harness.store import RESULTS, ResultHeader, header, load
from benchmarks.load.arrivals import DEADLINE_S, arrivals
from benchmarks.load.messages import AskerRequest, AskResults
from benchmarks.load.soak import SAMPLE_S, SoakSample, growth_of, sample_of
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track

FILE = "soak-attacked-mini.json"
_SEED = 20269


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackedSample:
    """A sample of honest requests, and the acts of attackers that were begun meanwhile."""

    honest: SoakSample
    n_acts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackedSoakResults:
    """All that one run measured: honest requests a second, and attacks as a share of them."""

    header: ResultHeader
    rate: float
    share: float
    deadline_s: float
    samples: tuple[AttackedSample, ...]

    @property
    def honest(self) -> tuple[SoakSample, ...]:
        """The samples of honest requests."""
        return tuple(sample.honest for sample in self.samples)


def measure_attacked_soak(
    bundle: Path, *, minutes: float, rate: float, share: float, command: str
) -> AttackedSoakResults:
    """Ask a server for some minutes, with attacks among the requests.

    Raises:
        HazgateError: the bundle cannot be served.
        WorkerFailed: the server did not start or ended, or so did the asker or the attacker.
    """
    opened = Bundle.open(bundle)
    with battlefield(bundle, opened.manifest.name) as field:
        samples = tuple(_samples(field, rate, share, math.ceil(60 * minutes / SAMPLE_S)))
    return AttackedSoakResults(
        header=header(opened.manifest.name, command, digest=opened.digest),
        rate=rate,
        share=share,
        deadline_s=DEADLINE_S,
        samples=samples,
    )


def _samples(
    field: Battlefield, rate: float, share: float, n_samples: int
) -> Iterator[AttackedSample]:
    begin = time.monotonic()
    n_asked = 0
    for n in track(list(range(n_samples)), f"{rate:g} texts a second, {share:.0%} attacks"):
        times = tuple(arrivals(rate, SAMPLE_S, _SEED + n))
        # In another order each time, for one attack of some tens begins in a sample.
        first = n % len(CLIENTS_ATTACKS)
        request = AttackRequest(
            names=CLIENTS_ATTACKS[first:] + CLIENTS_ATTACKS[:first],
            seconds=SAMPLE_S,
            acts_per_s=share * rate,
        )
        with attacking(field, request) as replies:
            asked = AskerRequest(action="offer", times=times, first=n_asked % field.n_texts)
            found = field.honest.ask(asked, AskResults)
        n_asked += len(times)
        if not replies or field.server.process.poll() is not None:
            raise WorkerFailed("the attacker or the server ended")
        at_s = time.monotonic() - begin
        yield AttackedSample(
            honest=sample_of(found.taken_s, at_s, field.rss_bytes), n_acts=replies[0].n_acts
        )


def attacked_soak_table(results: AttackedSoakResults) -> str:
    """Return the run in one row."""
    samples = results.honest
    growth = growth_of(samples)
    head = (
        "minutes",
        "honest texts",
        "answered in time",
        "late",
        "failed or refused",
        "attacks",
        "resident MB at the end",
        "growth after the first minute",
    )
    row = (
        f"{samples[-1].at_s / 60:.0f}",
        str(_sum(samples, "answered") + _sum(samples, "late") + _sum(samples, "failed")),
        *(str(_sum(samples, name)) for name in ("answered", "late", "failed")),
        str(sum(sample.n_acts for sample in results.samples)),
        f"{samples[-1].rss_bytes / 1e6:.1f}",
        "–" if growth is None else f"{growth:+.1%}",
    )
    run = results.header
    return (
        f"`hazgate serve` of `{run.name}` on {run.host.summary}: {results.rate:g} honest texts a "
        f"second and {results.share:.0%} as many attacks; in time is within "
        f"{1e3 * results.deadline_s:.0f} ms. {run.origin}\n\n{table(head, [row])}"
    )


def _sum(samples: Sequence[SoakSample], name: str) -> int:
    return sum(getattr(sample, name) for sample in samples)


def _filled(folder: Path) -> str:
    if not (folder / FILE).is_file():
        return "Not measured yet; `make soak-attacks` measures it."
    return attacked_soak_table(load(AttackedSoakResults, folder / FILE))


@click.command(epilog="Example: python -m benchmarks.attacks.soak build/mini --minutes 30")
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--minutes", type=click.FloatRange(min=0.1), default=30, show_default=True)
@click.option("--rate", type=click.FloatRange(min=0.1), default=10, show_default=True)
@click.option(
    "--share",
    type=click.FloatRange(min=0.001, max=1),
    default=0.05,
    show_default=True,
    help="Attacks per honest request.",
)
@refusals()
def main(bundle: Path, minutes: float, rate: float, share: float) -> None:
    """Ask and attack `hazgate serve BUNDLE`, write the results and print the table."""
    results = measure_attacked_soak(
        bundle,
        minutes=minutes,
        rate=rate,
        share=share,
        command=f"python -m benchmarks.attacks.soak build/mini --minutes {minutes:g}",
    )
    publish(results, RESULTS / FILE, attacked_soak_table)


REGIONS: Regions = {"soak-attacked-mini": _filled}


if __name__ == "__main__":
    main()
