"""The stopwatch: seconds of calls, by the clock that every benchmark uses."""

import statistics
import time
from collections.abc import Callable, Iterable
from itertools import repeat


def seconds_of(call: Callable[[], object]) -> float:
    """Make one call and return the seconds that it took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def seconds_of_each(calls: Iterable[Callable[[], object]]) -> tuple[float, ...]:
    """Make each call in turn and return the seconds that each took."""
    return tuple(map(seconds_of, calls))


def median_seconds(call: Callable[[], object], n_calls: int) -> float:
    """Make a call `n_calls` times and return the median of its seconds."""
    return statistics.median(seconds_of_each(repeat(call, n_calls)))
