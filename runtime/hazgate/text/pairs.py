"""Texts behind a context: the windows of a pair."""

from hazgate.errors import InputError
from hazgate.text.reading import Reading
from hazgate.text.tokenization import TextTokens, Tokens, check_text


def check_context(context: object, subject: str, reading: Reading) -> None:
    """Refuse a context of too many bytes; errors call it `subject`.

    Raises:
        InputError: it is too long, or not a well-formed string.
    """
    size_bytes = check_text(context, subject)
    if size_bytes > reading.max_text_bytes:
        raise InputError(
            f"{subject}: {size_bytes} bytes, at most {reading.max_text_bytes} are taken; send less "
            "of it"
        )


def windows_beside(own: TextTokens, row_tokens: int, overlap: int, subject: str) -> Tokens:
    """Return the windows of a text, each behind the whole context.

    Args:
        own: the text's tokens; the context is before them.
        row_tokens: tokens of a window, context and special ones included.
        overlap: tokens of the text that two windows share.
        subject: the context's name in errors.

    Raises:
        InputError: the context leaves too little room for the text in a window.
    """
    n_total = len(own.ids)
    room = row_tokens - len(own.before) - len(own.after)
    if room < min(n_total, overlap + 1):
        raise InputError(
            f"{subject}: with it, {max(room, 0)} of {row_tokens} tokens of a window are left for "
            f"the text, which needs {min(n_total, overlap + 1)} at least; send less of it, or open "
            "the level with larger window_tokens"
        )
    windows = own.windows(room, overlap) if n_total else (own.window(0, 0),)
    whole = own.window(0, n_total)
    return Tokens(
        windows=windows,
        n_total=n_total,
        n_read=n_total,
        n_unknown=whole.n_unknown,
        understood=all(window.understood for window in (whole, *windows)),
    )
