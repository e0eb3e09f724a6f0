"""Results of attacks, and the table that is made from nothing else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.attacks.attacks import ATTACKS
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions
from benchmarks.harness.store import ResultHeader, load

FILE = "attacks-mini.json"
# The p99 of honest requests may be this many times that of the quiet turn before.
_MOST_TIMES = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class HonestFigures:
    """The fate of honest requests in one turn: answers in time, later ones, and none.

    `p99_ms` counts a late answer as infinitely late; None if over a hundredth were.
    """

    n_asked: int
    n_late: int
    n_lost: int
    p99_ms: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackFigures:
    """One attack: the quiet turn before it, the turn beside it, its acts, and memory after it."""

    name: str
    quiet: HonestFigures
    attacked: HonestFigures
    n_acts: int
    rss_bytes: int

    @property
    def times(self) -> float | None:
        """The p99 as a multiple of the quiet one's; None where one has none."""
        if self.quiet.p99_ms is None or self.attacked.p99_ms is None:
            return None
        return self.attacked.p99_ms / self.quiet.p99_ms

    @property
    def held(self) -> bool:
        """True if no honest request was lost, and the p99 is within the limit."""
        times = self.times
        return times is not None and times <= _MOST_TIMES and not self.attacked.n_lost


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackResults:
    """All that one run measured; `label` says which server it was."""

    header: ResultHeader
    label: str
    seconds: float
    rate: float
    deadline_s: float
    attacks: tuple[AttackFigures, ...]
    before: tuple[AttackFigures, ...] = ()
    before_label: str = ""


def figures_of(taken_s: Sequence[float | None]) -> HonestFigures:
    """Return the figures of one turn; `taken_s` is as `offer` returns it."""
    n_lost = sum(taken is not None and math.isnan(taken) for taken in taken_s)
    answered = [math.inf if t is None else t for t in taken_s if t is None or not math.isnan(t)]
    # Not interpolated: between a number and infinity is infinity.
    p99_s = float(np.percentile(answered, 99, method="higher")) if answered else math.inf
    return HonestFigures(
        n_asked=len(taken_s),
        n_late=sum(taken is None for taken in taken_s),
        n_lost=n_lost,
        p99_ms=None if math.isinf(p99_s) else 1e3 * p99_s,
    )


def attack_table(results: AttackResults) -> str:
    """Return a row per attack."""
    head = (
        "attack",
        "before: p99 ms",
        "lost",
        "quiet: p99 ms",
        "attacked: p99 ms",
        "times",
        "late",
        "lost",
        "acts",
        "resident MB after it",
        "held",
    )
    before = {figures.name: figures for figures in results.before}
    known = {attack.name: attack.what for attack in ATTACKS}
    body = [
        _row(known.get(each.name, each.name), each, before.get(each.name), results.deadline_s)
        for each in results.attacks
    ]
    run = results.header
    compared = (
        f"Before is {results.before_label}, measured by the same command. "
        if results.before
        else "Nothing was measured before. "
    )
    return (
        f"`hazgate serve` of `{run.name}` ({results.label}) on {run.host.summary}; "
        f"{results.rate:g} honest requests a second, {results.seconds:g} s beside each attack and "
        f"as long before it. The last processor is the attacker's and the asker's, the others are "
        f"the server's. Held: none lost, and p99 at most {_MOST_TIMES:g} times the quiet "
        f"one. Late is over {1e3 * results.deadline_s:.0f} ms. {compared}{run.origin}\n\n"
        f"{table(head, body)}"
    )


def _row(
    what: str, now: AttackFigures, before: AttackFigures | None, deadline_s: float
) -> tuple[str, ...]:
    def ms(figures: HonestFigures) -> str:
        late = f"> {1e3 * deadline_s:.0f}"
        return late if figures.p99_ms is None else f"{figures.p99_ms:.1f}"

    return (
        what,
        "–" if before is None else ms(before.attacked),
        "–" if before is None else str(before.attacked.n_lost),
        ms(now.quiet),
        ms(now.attacked),
        "–" if now.times is None else f"{now.times:.1f}",
        str(now.attacked.n_late),
        str(now.attacked.n_lost),
        str(now.n_acts),
        f"{now.rss_bytes / 1e6:.0f}",
        "yes" if now.held else "**no**",
    )


def _filled(folder: Path) -> str:
    if not (folder / FILE).is_file():
        return "Not measured yet; `make bench-attacks` measures it."
    return attack_table(load(AttackResults, folder / FILE))


REGIONS: Regions = {"attacks-mini": _filled}
