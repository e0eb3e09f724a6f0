"""The outline of a tokenised text: its windows' places and counts, without a token. Pure."""

from array import array
from collections.abc import Sequence

from hazgate.text.tokenization import Tokens, Window

_N_HEAD = 5
_N_WINDOW = 5


def pack(tokens: Tokens, keys: Sequence[bytes]) -> bytes:
    """Return the outline of a text as bytes.

    Args:
        tokens: the text's.
        keys: of every window, all of one length.
    """
    numbers = array("q", (len(tokens.windows), tokens.n_total, tokens.n_read, tokens.n_unknown))
    numbers.append(tokens.understood)
    for window in tokens.every_window:
        numbers.extend((window.n_tokens, window.start, window.end, window.n_unknown))
        numbers.append(window.understood)
    return len(tokens.every_window).to_bytes(8, "little") + numbers.tobytes() + b"".join(keys)


def unpack(outline: bytes) -> tuple[Tokens, tuple[bytes, ...]]:
    """Return the text's tokens, whose windows have no `input_ids`, and the keys of the windows."""
    n_all = int.from_bytes(outline[:8], "little")
    numbers = array("q")
    end = 8 + numbers.itemsize * (_N_HEAD + _N_WINDOW * n_all)
    numbers.frombytes(outline[8:end])
    n_windows, n_total, n_read, n_unknown, understood = numbers[:_N_HEAD]
    every = tuple(
        Window(
            input_ids=(),
            n_tokens=numbers[at],
            start=numbers[at + 1],
            end=numbers[at + 2],
            n_unknown=numbers[at + 3],
            understood=bool(numbers[at + 4]),
            is_sentence=n_windows == 1 and i > 0,
        )
        for i, at in enumerate(range(_N_HEAD, len(numbers), _N_WINDOW))
    )
    tokens = Tokens(
        windows=every[:n_windows],
        close=every[n_windows:],
        n_total=n_total,
        n_read=n_read,
        n_unknown=n_unknown,
        understood=bool(understood),
    )
    size = (len(outline) - end) // n_all
    return tokens, tuple(outline[at : at + size] for at in range(end, len(outline), size))
