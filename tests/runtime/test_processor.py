"""Processors are counted within a cgroup's quota, and known by their instructions for int8."""

import os
from pathlib import Path

import pytest

from hazgate.engine import processor
from hazgate.engine.processor import (
    int8_instructions,
    n_processors,
    parse_int8_flags,
    parse_quota,
    threads_per_run,
)


@pytest.mark.parametrize(
    ("cpu_info", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu sse avx2 avx512f avx512_vnni\n", "avx512_vnni"),
        ("flags\t\t: fpu avx2 avx_vnni amx_tile amx_int8\n", "amx_int8"),
        ("flags\t\t: fpu avx avx2\n", "avx2"),
        ("flags\t\t: fpu sse2 avx\n", None),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n", "i8mm"),
        ("Features\t: fp asimd asimddp\n", "asimddp"),
        ("bugs : avx2\n", None),
        ("", None),
    ],
)
def test_the_best_instruction_set_of_the_first_processor_is_taken(
    cpu_info: str, expected: str | None
) -> None:
    assert parse_int8_flags(cpu_info) == expected


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [
        ("max 100000\n", None),
        ("50000 100000\n", 0.5),
        ("200000 100000\n", 2.0),
        ("", None),
        ("1 0", None),
        ("a b", None),
    ],
)
def test_a_quota_is_read_as_a_number_of_processors(cpu_max: str, expected: float | None) -> None:
    assert parse_quota(cpu_max) == expected


@pytest.mark.parametrize(
    ("cpu_max", "affinity", "expected"),
    [
        ("50000 100000", 4, 1),
        ("150000 100000", 4, 1),
        ("300000 100000", 4, 3),
        ("900000 100000", 4, 4),
        ("max 100000", 4, 4),
    ],
)
def test_half_a_processor_is_one_thread_and_not_as_many_as_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, cpu_max: str, affinity: int, expected: int
) -> None:
    monkeypatch.setattr(processor, "_read", lambda _: cpu_max)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    assert n_processors() == expected
    assert threads_per_run(None, n_runs=2) == max(1, expected // 2)
    assert threads_per_run(7, n_runs=2) == 7


def test_this_processor_has_what_its_own_flags_say() -> None:
    cpu_info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    # Every instruction set for int8 products comes with one of these two.
    has_any = not {"avx2", "asimddp"}.isdisjoint(cpu_info.split())
    found = int8_instructions()
    assert (found is not None) is has_any
    assert found is None or found in cpu_info.split()
