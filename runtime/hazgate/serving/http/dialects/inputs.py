"""Rules for texts and options that several dialects share."""

from collections.abc import Sequence
from typing import Any

from pydantic import AfterValidator

from hazgate.errors import InputError


def check_texts(texts: Sequence[str], field: str) -> None:
    """Check that a request has texts, and that none is empty.

    Args:
        texts: all texts of the request.
        field: the field that holds them, for the message.

    Raises:
        InputError: there is no text, or one has no character.
    """
    if not texts:
        raise InputError(f"{field} is an empty list: there is nothing to judge")
    n_empty = sum(not text for text in texts)
    if n_empty == len(texts) == 1:
        raise InputError(f"{field} is an empty text: there is nothing to judge")
    if n_empty:
        raise InputError(
            f"{n_empty} of {len(texts)} texts of {field} are empty: there is nothing to judge in "
            "them; leave them out"
        )


def only(*accepted: object, reason: str) -> AfterValidator:
    """Accept an option of a protocol only with values that change nothing here.

    An option is honoured or refused by its name, never ignored.

    Args:
        accepted: values that ask for what the server does anyway.
        reason: the rest of the sentence after the option's name, with the cure.
    """

    def check(value: Any) -> Any:  # noqa: ANN401 - any option
        if value not in accepted:
            raise ValueError(reason)
        return value

    return AfterValidator(check)


WHOLE = "is not supported: long texts are read whole, in windows; leave it out"
PROBABILITIES = "is not supported: scores are probabilities; leave it out"
