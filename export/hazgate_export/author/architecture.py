"""What a configuration must say for a graph of ours to be its model. Anything else is refused."""

from collections.abc import Callable, Mapping
from typing import Any

from transformers import PretrainedConfig

from hazgate_export.errors import UnsupportedArchitecture

# Says what is wrong with a field's value, or None.
Expectation = Callable[[Any], str | None]


def equals(wanted: object) -> Expectation:
    """The field has this value."""
    return lambda got: None if got == wanted else f"expected {wanted!r}, got {got!r}"


def one_of(*wanted: object) -> Expectation:
    """The field has one of these values."""
    return lambda got: None if got in wanted else f"expected one of {wanted}, got {got!r}"


def absent(got: object) -> str | None:
    """The field is not set."""
    return None if got is None else f"expected none, got {got!r}"


def check_config(config: PretrainedConfig, expected: Mapping[str, Expectation]) -> None:
    """Holds a configuration against what a graph computes.

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
