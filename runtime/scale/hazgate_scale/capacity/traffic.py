"""Traffic: random texts at random times, a Poisson process with or without bursts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InputError
from hazgate_scale.capacity.service import Costs, Floats

# At least this many bursts, so that no single burst decides the result.
MIN_PERIODS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Bursts:
    """Bursts of a two-state process (MMPP): arrivals are `factor` times as frequent in one.

    Both states last exponentially long: a burst `mean_s`, a burst and the quiet before `period_s`.
    """

    factor: float
    mean_s: float
    period_s: float

    def __post_init__(self) -> None:
        if not self.factor >= 1:
            raise InputError(f"a burst's factor must be at least 1, got {self.factor}")
        if not 0 < self.mean_s < self.period_s:
            raise InputError(
                f"bursts must last over 0 s and less than their period, {self.period_s:g} s, "
                f"got {self.mean_s:g} s"
            )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Traffic:
    """Ordered arrivals in seconds, with the flags and costs of the texts."""

    arrivals_s: Floats
    flagged: NDArray[np.bool_]
    costs: Costs

    def __len__(self) -> int:
        return len(self.arrivals_s)

    @property
    def rate(self) -> float:
        """Texts a second."""
        return len(self) / float(self.arrivals_s[-1])


def poisson(rate: float, n: int, random: np.random.Generator) -> Floats:
    """Draw `n` arrivals at `rate` a second."""
    arrivals_s: Floats = np.cumsum(random.exponential(1 / rate, size=n))
    return arrivals_s


def in_bursts(rate: float, n: int, bursts: Bursts, random: np.random.Generator) -> Floats:
    """Draw `n` arrivals at `rate` a second overall, more of them in bursts.

    The times are scaled to exactly that rate, which the length of a few bursts would change.
    """
    share = bursts.mean_s / bursts.period_s
    quiet_rate = rate / (1 - share + share * bursts.factor)
    # Time is stretched: each state holds this many arrivals of a process of rate 1.
    stay_s: list[float] = []
    expected = 0.0
    means = (bursts.period_s - bursts.mean_s, bursts.mean_s)
    rates = (quiet_rate, quiet_rate * bursts.factor)
    unit = np.cumsum(random.exponential(size=n))
    while expected <= unit[-1]:
        state = len(stay_s) % 2
        stay_s.append(float(random.exponential(means[state])))
        expected += stay_s[-1] * rates[state]
    ends_s = np.cumsum(stay_s)
    amounts = np.cumsum([s * rates[i % 2] for i, s in enumerate(stay_s)])
    arrivals_s: Floats = np.interp(unit, [0.0, *amounts], [0.0, *ends_s])
    arrivals_s *= n / rate / arrivals_s[-1]
    return arrivals_s


def make_traffic(
    costs: Costs,
    *,
    rate: float,
    n: int,
    flagged_share: float,
    bursts: Bursts | None,
    seed: int,
) -> Traffic:
    """Draw texts at random from those of `costs`, at random times.

    Args:
        costs: costs of the texts to draw from.
        rate: texts a second on average, bursts included.
        n: number of texts; with bursts more, until there are MIN_PERIODS of them.
        flagged_share: share of texts that are flagged, at random.
        bursts: None for a plain Poisson process.
        seed: the same seed gives the same traffic.

    Raises:
        InputError: the rate, the number or the share is out of range.
    """
    if not 0 < rate < float("inf"):
        raise InputError(f"the rate must be positive and finite, got {rate}")
    if n < 1:
        raise InputError(f"at least one text must be simulated, got {n}")
    if not 0 <= flagged_share <= 1:
        raise InputError(f"the share of flagged texts must be from 0 to 1, got {flagged_share}")
    random = np.random.default_rng(seed)
    if bursts is None:
        arrivals_s = poisson(rate, n, random)
    else:
        n = max(n, int(MIN_PERIODS * bursts.period_s * rate))
        arrivals_s = in_bursts(rate, n, bursts, random)
    texts = random.integers(len(costs.level1_s), size=n)
    return Traffic(
        arrivals_s=arrivals_s,
        flagged=random.random(n) < flagged_share,
        costs=costs.take(texts),
    )
