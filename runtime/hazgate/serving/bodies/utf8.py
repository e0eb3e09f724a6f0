"""Bytes that are text in UTF-8."""

from hazgate.errors import InputError


def decoded(body: bytes) -> str:
    """Return a text's characters.

    Raises:
        InputError: the bytes are not UTF-8, or hold NUL characters.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the body is not UTF-8 at byte {error.start}; compressed and binary bodies cannot be "
            "read"
        ) from None
    if "\x00" in text:
        raise InputError("the body holds NUL characters: it is no text in UTF-8")
    return text
