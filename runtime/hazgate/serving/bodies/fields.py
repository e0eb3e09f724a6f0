"""The words in which APIs are described: places in a body, and what their fields hold.

A description says how strings belong together and which strings are no text. It cannot hide a
string: a field that no description knows is read, and a value that is not of the stated form is
read as text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from hazgate.judging.speech import Role, UnreadKind

# Places where an object can stand. Below `free` keys and values are whatever an application
# wrote; `media` holds the bytes or the address of something that is no text.
Place = Literal["body", "turn", "part", "call", "definition", "event", "free", "media"]
Form = Callable[[str], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """The meaning of a key in an object at some place.

    `place` is where objects below it stand, and `role` who speaks there; None keeps the object's
    own. `form` recognises the values that are no text. `unread` is the kind of a part that is no
    text. `joined` strings of one turn are one passage, as a server joins them into one prompt;
    those of a field that is `apart` are a passage of their own. `nested` strings may hold JSON of
    their own. `ids` are numbers that stand for text.
    """

    place: Place | None = None
    role: Role | None = None
    form: Form | None = None
    unread: UnreadKind | None = None
    joined: bool = False
    apart: bool = False
    nested: bool = False
    ids: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """One API's fields, by place and key, and the types of its parts that are no text.

    `types` are the values of `type` that it knows, with who speaks in such an object.
    """

    name: str
    fields: Mapping[tuple[Place, str], Field]
    types: Mapping[str, Role | None]
    media: Mapping[str, UnreadKind]


def words(text: str) -> frozenset[str]:
    """Split a text into the set of its words."""
    return frozenset(text.split())


def one_of(*values: str) -> Form:
    """Recognise the members of a closed set."""
    return frozenset(values).__contains__


_ID = re.compile(r"[A-Za-z0-9_.:|\-]{1,128}")
_WORD = re.compile(r"[A-Za-z]{3,}")
_WORD_OF_ID = re.compile(r"(?:^|[_.:|\-])[A-Za-z]{3,}(?=[_.:|\-]|$)")
_MAX_WORDS_OF_ID = 2
# Most identifiers: too few parts for more words.
_ID_OF_TWO_PARTS = re.compile(r"[A-Za-z0-9]{1,64}(?:[_.:|\-][A-Za-z0-9]{0,63})?")


def is_id(value: str) -> bool:
    """Recognise an identifier: short, without spaces, and no row of words."""
    if _ID_OF_TWO_PARTS.fullmatch(value):
        return True
    return _ID.fullmatch(value) is not None and len(_WORD_OF_ID.findall(value)) <= _MAX_WORDS_OF_ID


_NAME = re.compile(r"[A-Za-z0-9_./:@+\-]{1,128}")


def is_model(value: str) -> bool:
    """Recognise the name of a model or version, which no server shows to a model."""
    return _NAME.fullmatch(value) is not None


_MIME = re.compile(r"[a-z]{1,20}/[a-z0-9.+\-]{1,60}")


def is_mime(value: str) -> bool:
    """Recognise a MIME type."""
    return _MIME.fullmatch(value) is not None


_OPAQUE = re.compile(r"[A-Za-z0-9+/_=\-]+")
_OPAQUE_SEPARATORS = re.compile(r"[+/_=\-]")
_URL = re.compile(r"(https?|gs|s3|file)://[!-~]{1,4096}")
_DATA_URL = re.compile(r"data:[a-z0-9.+/;=\-]{0,100}base64,[A-Za-z0-9+/_=\-]*", re.IGNORECASE)


def is_opaque(value: str) -> bool:
    """Recognise base64, or the address of something: the bytes of a part that is no text."""
    if _OPAQUE.fullmatch(value):
        return not _is_row_of_words(value)
    return any(form.fullmatch(value) for form in (_URL, _DATA_URL))


def _is_row_of_words(value: str) -> bool:
    """Recognise words that separators of base64 join: most of their letters stand in words."""
    words = [part for part in _OPAQUE_SEPARATORS.split(value) if _WORD.fullmatch(part)]
    return len(words) > _MAX_WORDS_OF_ID and 2 * sum(map(len, words)) > len(value)
