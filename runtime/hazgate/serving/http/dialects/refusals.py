"""Error answers of every endpoint, for the API's description.

The edge refuses bodies that are too large or too slow, and unknown keys, before a dialect sees
them. The other statuses are errors for which a dialect has no form of its own.
"""

from typing import Any

from pydantic import BaseModel

Described = dict[int | str, dict[str, Any]]


class RefusalDetail(BaseModel):
    """A code for programs, and a sentence for people without any user text."""

    code: str
    message: str


class Refusal(BaseModel):
    """The reason why there is no verdict."""

    error: RefusalDetail


def described(model: type[BaseModel], *statuses: int) -> Described:
    """Describe error answers: one body for all statuses."""
    return {status: {"model": model} for status in statuses}


REFUSALS: Described = described(Refusal, 400, 401, 408, 413, 422, 500, 503, 504)
