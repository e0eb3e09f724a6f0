"""Errors in the form of each protocol, chosen by the path of the request.

A client reads an error as its own server would send it. So every error below a protocol's paths
has that protocol's form: those of its dialect, of the router (404, 405) and of the edge (keys,
sizes).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hazgate.serving.failures import FailureAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorAnswer:
    """The HTTP status, the JSON and the headers of an error."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorForm:
    """The form of all errors at some paths, and below them.

    A 404 has it wherever the path has the `segment`: a client with a wrong base address reads the
    answer, too.
    """

    paths: tuple[str, ...]
    answer: Callable[[FailureAnswer], ErrorAnswer]
    segment: str | None = None


def answer_in_form(forms: Sequence[ErrorForm], path: str, failure: FailureAnswer) -> ErrorAnswer:
    """Return an error in the form that belongs to `path`, else in hazgate's own."""
    for form in forms:
        if any(path == known or path.startswith(f"{known}/") for known in form.paths):
            return form.answer(failure)
    segments = path.split("/") if failure.status == 404 else ()
    for form in forms:
        if form.segment in segments:
            return form.answer(failure)
    return ErrorAnswer(status=failure.status, body=failure.body, headers=failure.headers)
