"""A profile counts every node once per run."""

from typing import Any

import pytest

from benchmarks.engines.operators import group_of, times_by_group


def _node(operator: str, us: int, part: str = "kernel_time") -> dict[str, Any]:
    return {
        "cat": "Node",
        "name": f"/layers.0/{operator}_{part}",
        "dur": us,
        "args": {"op_name": operator},
    }


RUN_END: dict[str, Any] = {"cat": "Session", "name": "model_run", "dur": 1}


def test_the_nodes_of_a_branch_count_and_its_if_does_not() -> None:
    events = [
        {"cat": "Session", "name": "model_loading_uri", "dur": 9},
        _node("MatMul", 1000),
        _node("MatMul", 2000, "fence_before"),
        _node("MultiHeadAttention", 500),
        _node("If", 500),
        RUN_END,
        _node("MatMul", 3000),
        RUN_END,
    ]
    assert times_by_group(events) == [
        {"products of weights": 1.0, "attention": 0.5},
        {"products of weights": 3.0},
    ]


@pytest.mark.parametrize(
    ("operator", "group"),
    [
        ("MatMulIntegerToFloat", "products of weights"),
        ("RotaryEmbedding", "rotary positions"),
        ("NonZero", "the rest"),
    ],
)
def test_operators_have_the_names_that_readers_know(operator: str, group: str) -> None:
    assert group_of(operator) == group
