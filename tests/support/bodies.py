"""Bodies of requests of any shape, read as a gateway's are."""

import re
from collections.abc import Callable

from hazgate.errors import InputError
from hazgate.serving.bodies.passages import BodyText

# The reasons for which JSON of any shape is refused as a whole, though there is a text in it.
_REFUSED = re.compile("two keys are equal but for case|token ids cannot be read")
_EMPTY = "holds no text"


def read_unless_refused(
    read: Callable[[], BodyText], *, may_be_empty: bool = False
) -> BodyText | None:
    """Read a JSON body; return None if it is refused for a reason that any shape can have.

    Args:
        read: reads the body.
        may_be_empty: whether a body without any text is expected, which is refused as well.
    """
    try:
        return read()
    except InputError as error:
        message = str(error)
        if _REFUSED.search(message) is None and not (may_be_empty and _EMPTY in message):
            raise
        return None
