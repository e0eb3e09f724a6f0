"""Architectures that an authored graph computes; all others are refused."""

from collections.abc import Callable, Mapping
from typing import Any

from hazgate_export.errors import UnsupportedArchitecture
from hazgate_export.model.architecture import Architecture

# Returns the problem with a field's value, or None.
Expectation = Callable[[Any], str | None]


def equals(wanted: object) -> Expectation:
    """Expect this value of the field."""
    return lambda got: None if got == wanted else f"expected {wanted!r}, got {got!r}"


def check_architecture(architecture: Architecture, expected: Mapping[str, Expectation]) -> None:
    """Check that a graph computes an architecture.

    Raises:
        UnsupportedArchitecture: names every field that differs.
    """
    problems = []
    for field, expectation in expected.items():
        problem = expectation(getattr(architecture, field))
        if problem is not None:
            problems.append(f"{field}: {problem}")
    if problems:
        raise UnsupportedArchitecture(architecture.family, problems)
