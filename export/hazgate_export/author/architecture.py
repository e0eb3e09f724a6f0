"""Configurations that an authored graph computes; all others are refused."""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import PretrainedConfig

from hazgate_export.errors import UnsupportedArchitecture

# Returns the problem with a field's value, or None.
Expectation = Callable[[Any], str | None]


def equals(wanted: object) -> Expectation:
    """Expect this value of the field."""
    return lambda got: None if got == wanted else f"expected {wanted!r}, got {got!r}"


def one_of(*wanted: object) -> Expectation:
    """Expect one of these values of the field."""
    return lambda got: None if got in wanted else f"expected one of {wanted}, got {got!r}"


def absent(got: object) -> str | None:
    """Expect that the field is not set."""
    return None if got is None else f"expected none, got {got!r}"


def check_config(config: PretrainedConfig, expected: Mapping[str, Expectation]) -> None:
    """Check that a graph computes a configuration.

    Raises:
        UnsupportedArchitecture: names every field that differs.
    """
    problems = []
    for field, expectation in expected.items():
        problem = expectation(getattr(config, field, None))
        if problem is not None:
            problems.append(f"{field}: {problem}")
    if problems:
        raise UnsupportedArchitecture(config.model_type, problems)
