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
class TextlessRequest:
    """A request that may hold no text: the end of its path, and the members that it may have.

    In `route` a `*` stands for one segment of the path.
    """

    route: str
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Api:
    """One API's fields, by place and key, and the types of its parts that are no text.

    `types` are the values of `type` that it knows, with who speaks in such an object.
    """

    name: str
    fields: Mapping[tuple[Place, str], Field]
    types: Mapping[str, Role | None]
    media: Mapping[str, UnreadKind]
    textless: tuple[TextlessRequest, ...] = ()


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
# Words in camel case, and runs of capitals that are too long for a random name.
_HUMP = re.compile(r"[A-Za-z][a-z]{2,}|[A-Z]{12,}")
# Letters that stand alone between separators, as in h.o.w.
_LETTER = re.compile(r"(?:^|(?<=[_.:|\-]))[A-Za-z](?=[_.:|\-]|$)")
_LETTERS_OF_WORD, _MAX_LETTERS = 6, 4
# A shorter identifier has no room for a sentence.
_SHORT_ID = 14
# Most identifiers: too few parts for more words.
_ID_OF_TWO_PARTS = re.compile(r"[A-Za-z0-9]{1,64}(?:[_.:|\-][A-Za-z0-9]{0,63})?")


def is_id(value: str) -> bool:
    """Recognise an identifier: short, without spaces, and no row of words."""
    if not _ID_OF_TWO_PARTS.fullmatch(value):
        few = len(_WORD_OF_ID.findall(value)) <= _MAX_WORDS_OF_ID
        if _ID.fullmatch(value) is None or not few:
            return False
    return len(value) <= _SHORT_ID or not _is_spelt(value)


def _is_spelt(value: str) -> bool:
    """Recognise words that only their capitals part, or nothing: most of the value is letters."""
    words = _HUMP.findall(value)
    n_words = sum(max(1, len(word) // _LETTERS_OF_WORD) for word in words)
    in_words = 3 * sum(map(len, words)) > 2 * len(value)
    return (n_words > _MAX_WORDS_OF_ID and in_words) or len(_LETTER.findall(value)) > _MAX_LETTERS


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


# Names of events as APIs have them: words of a closed set, joined.
_EVENT_WORDS = words(
    """
    message messages start stop delta content block ping error thread run step requires action
    cancelling cancelled expired created queued in progress completed failed incomplete done end
    text generation stream tool plan call calls chunk citation citations search queries results
    response output item added part refusal function arguments file searching web interpreting code
    interpreter image generating partial mcp list tools reasoning summary annotation custom input
    audio transcript endpoint update notification open close closed data event keep alive heartbeat
    metadata usage final partial result handoff agent conversation started execution session
    updated speech stopped cleared truncated buffer committed transcription failed rate limits
    """
)
_EVENT_JOINTS = re.compile(r"[._\-/]")
# Letters that are too few for a word.
_SHORT_PART = re.compile(r"[A-Za-z0-9]{1,2}")


def is_event_name(value: str) -> bool:
    """Recognise the name of a streamed event: words of a closed set, joined."""
    parts = _EVENT_JOINTS.split(value)
    return len(value) <= 64 and all(
        part in _EVENT_WORDS or _SHORT_PART.fullmatch(part) for part in parts if part
    )
