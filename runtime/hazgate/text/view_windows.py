"""The windows of a text's views, read beside those of the text.

They have one budget of tokens, so that a disguised text costs at most twice as much.
"""

import dataclasses
from collections.abc import Sequence

from hazgate.text.tokenization import Tokenizer, Tokens, ViewPart, Window

# A tokenizer may write a disguised text in few tokens, or in none. Plain text of its length has
# fewer than one for so many characters.
_CHARACTERS_PER_TOKEN = 2
# A check of few tokens costs as much as one of so many.
_LEAST_ROOM = 32


def has_views(text: str, names: Sequence[str]) -> bool:
    """Return True if `with_views` adds anything to the tokens of a text."""
    if not names:
        return False
    from hazgate.text.views.views import NO_VIEWS, views_of

    return views_of(text, names) != NO_VIEWS


def with_views(text: str, tokens: Tokens, tokenizer: Tokenizer, names: Sequence[str]) -> Tokens:
    """Return the tokens of a text with those of its views; of most texts, the same tokens.

    Of a view, the windows that are not as written are read. If the text was not understood, all
    of them are; then a view that is understood speaks for it.

    Args:
        text: a text that has passed `check_text`.
        tokens: its tokens.
        tokenizer: that made them.
        names: the kinds of disguise to undo, see `hazgate.text.views.names`; empty for none.
    """
    if not names:
        return tokens
    # Imported here because a program that reads no text need not wait for its patterns.
    from hazgate.text.views.views import views_of

    views = views_of(text, names)
    if not views.found and not views.left_out:
        return tokens
    room = max(
        sum(len(window.input_ids) for window in tokens.every_window),
        len(text) // _CHARACTERS_PER_TOKEN,
        _LEAST_ROOM,
    )
    read: list[Window] = []
    left_out: list[str] = []
    understood = tokens.understood
    for view in views.found:
        (of_view,) = tokenizer.encode_checked([view.text])
        wanted = [
            window
            for window in of_view.every_window
            if not tokens.understood or view.changes(window.start, window.end)
        ]
        is_whole = True
        for window in wanted:
            is_whole = len(window.input_ids) <= room
            if not is_whole:
                left_out.append(view.name)
                break
            room -= len(window.input_ids)
            start, end = view.source(window.start, window.end)
            part = ViewPart(name=view.name, text=view.text[window.start : window.end])
            read.append(dataclasses.replace(window, start=start, end=end, view=part))
        understood = understood or (is_whole and of_view.understood)
    return dataclasses.replace(
        tokens,
        views=tuple(read),
        views_left_out=(*left_out, *views.left_out),
        understood=understood,
    )
