"""Open-loop load: requests come when they come, and each has one fate."""

import asyncio
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import arrivals, figures_of, offer


@given(rate=st.floats(1, 500), seconds=st.floats(0.5, 20), seed=st.integers(0, 99))
@settings(deadline=None)
def test_arrivals_are_ascending_within_the_time_and_about_as_many_as_asked(
    rate: float, seconds: float, seed: int
) -> None:
    times = arrivals(rate, seconds, seed)
    assert times == sorted(times)
    assert all(0 < t < seconds for t in times)
    assert abs(len(times) - rate * seconds) <= 6 * math.sqrt(rate * seconds) + 6


def test_a_request_is_asked_in_time_though_others_have_no_answer_yet() -> None:
    async def slow(text: str) -> bool:
        await asyncio.sleep(0.2)
        return text != "refused"

    start = time.perf_counter()
    found = asyncio.run(offer(slow, ["a", "refused"], [0.0, 0.01, 0.02, 0.03]))
    assert time.perf_counter() - start < 0.8
    assert [taken is not None and math.isnan(taken) for taken in found] == [False, True] * 2


def test_every_request_is_answered_shed_or_late() -> None:
    figures = figures_of("embedded", 1.0, [0.1, math.nan, None, 0.3], 2.0)
    assert (figures.offered, figures.answered, figures.shed, figures.late) == (4, 2, 1, 1)
    assert figures.p50_ms == pytest.approx(200)


def test_without_answers_there_are_no_latencies() -> None:
    figures = figures_of("direct", 1.0, [None], 2.0)
    assert (figures.p50_ms, figures.p99_ms) == (None, None)
