from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.turns import plan_turns

NAMES = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6, unique=True)


@given(systems=NAMES, workloads=NAMES, rounds=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_every_system_runs_every_workload_once_a_round(
    systems: list[str], workloads: list[str], rounds: int, seed: int
) -> None:
    turns = plan_turns(systems, workloads, rounds=rounds, seed=seed)
    counts = Counter((turn.round, turn.workload, turn.system) for turn in turns)
    assert set(counts.values()) == {1}
    assert len(turns) == rounds * len(workloads) * len(systems)


@given(systems=NAMES, workloads=NAMES, rounds=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_compared_systems_run_right_after_one_another(
    systems: list[str], workloads: list[str], rounds: int, seed: int
) -> None:
    turns = plan_turns(systems, workloads, rounds=rounds, seed=seed)
    for start in range(0, len(turns), len(systems)):
        block = turns[start : start + len(systems)]
        assert {turn.system for turn in block} == set(systems)
        assert len({(turn.round, turn.workload) for turn in block}) == 1


def test_the_same_seed_gives_the_same_plan() -> None:
    def plan(seed: int) -> object:
        return plan_turns(["a", "b", "c"], ["w"], rounds=8, seed=seed)

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)


def test_no_system_always_goes_first() -> None:
    turns = plan_turns(["a", "b", "c"], ["w"], rounds=20, seed=0)
    assert {turn.system for turn in turns[::3]} == {"a", "b", "c"}
