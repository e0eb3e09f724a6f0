"""What any endpoint may answer instead of its dialect's own words, as the API's description has it.

Bodies that are too large or too slow, and keys that are unknown, are refused before a dialect is
asked; the rest are errors for which a dialect has no words of its own.
"""

from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """A word for programs, and a sentence for people without any text of theirs."""

    code: str
    message: str


class Refusal(BaseModel):
    """No verdict, and why."""

    error: Problem


REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal} for status in (400, 401, 408, 413, 422, 500, 503, 504)
}
