"""Answers beside their questions: the last user turn and each part of an answer as one text. Pure.

A pair only ever adds a reading: the answer is also judged alone.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from hazgate.bundle.manifest import ConversationSpec
from hazgate.errors import BundleError
from hazgate.serving.bodies.passages import BodyText, Passage, Path
from hazgate.serving.bodies.table import FIELDS
from hazgate.text.tokenization import Tokenizer

# A text that is tokenised behind another may have some tokens more than alone.
_ROOM_SHARE = 32


def check_pairs(spec: ConversationSpec, bundle: str) -> None:
    """Refuse a format of conversations in which question and answer look alike.

    Raises:
        BundleError: the turns of the format do not name their speaker.
    """
    if "{role}" not in spec.turn:
        raise BundleError(
            f"policy.pair: the conversation format of {bundle} does not say who speaks: its "
            f"conversation.turn is {spec.turn!r}, without {{role}}; export it with {{role}}, or "
            "leave pair out"
        )


def questions_of(body: BodyText) -> tuple[str, ...]:
    """Return the last user turn of a request.

    A request may have several fields that hold turns or a prompt, and which of them its server
    reads is not known here: each field's last one is returned. Only where no field is known, all
    that a user may have said is one question.
    """
    said = [passage for passage in body.passages if passage.role in ("user", "unknown")]
    known = [p for p in said if p.role == "user" and _field(p.place) is not None]
    turns: dict[tuple[Any, ...], tuple[Any, list[str]]] = {}
    for passage in known or said:
        field, turn = _turn(passage.place) if known else ((), None)
        at, texts = turns.get(field, (turn, []))
        turns[field] = (turn, [*texts, passage.text] if at == turn else [passage.text])
    return tuple(dict.fromkeys("\n".join(texts) for _, texts in turns.values()))


def paired(
    body: BodyText, questions: Iterable[str], spec: ConversationSpec, tokenizer: Tokenizer
) -> BodyText:
    """Return a response with every passage of the model also beside each question.

    Args:
        body: what was read of the response.
        questions: of its request, see `questions_of`.
        spec: the bundle's format of a conversation.
        tokenizer: of the level that reads the texts.
    """
    asked = tuple(questions)
    pairs = [
        Passage(text=text, place=passage.place, role="assistant", pair=True)
        for passage in body.passages
        if passage.role == "assistant"
        for question in asked
        for text in beside(question, passage.text, spec, tokenizer)
    ]
    return dataclasses.replace(body, passages=(*body.passages, *pairs))


def beside(
    question: str, answer: str, spec: ConversationSpec, tokenizer: Tokenizer
) -> Iterator[str]:
    """Yield question and answer as one text per window of the model.

    The end of the question, at most half a window, stands before each part of the answer; parts
    overlap as the bundle's windows do.
    """
    room = tokenizer.window_tokens
    ends = tokenizer.token_ends(question)
    most = max(1, room // 2)
    end = question[ends[-most - 1] :] if len(ends) > most else question
    head = spec.turn.format(role="user", content=end) + spec.separator

    def text_of(part: str) -> str:
        return head + spec.turn.format(role="assistant", content=part)

    size = max(1, room - tokenizer.count(text_of("")) - max(1, room // _ROOM_SHARE))
    for part in _parts(answer, tokenizer.token_ends(answer), size, tokenizer.overlap_tokens):
        yield text_of(part)


def _parts(text: str, ends: Sequence[int], size: int, overlap: int) -> Iterator[str]:
    """Yield a text in parts of at most `size` tokens, which end at `ends`."""
    overlap = min(overlap, size // 4)
    for first in range(0, max(1, len(ends) - overlap), size - overlap):
        start = ends[first - 1] if first else 0
        last = first + size >= len(ends)
        yield text[start : len(text) if last else ends[first + size - 1]]


def _keys(place: Path) -> list[Any]:
    keys = []
    while place:
        place, key = place
        keys.append(key)
    return keys[::-1]


def _field(place: Path) -> Literal["turns", "prompt"] | None:
    """Tell whether turns or a prompt stand at a place of a request."""
    for key in _keys(place):
        field = FIELDS.get(("body", key))
        if field is None:
            return None
        if field.place == "turn":
            return "turns"
        if field.place != "body":
            return "prompt" if field.role == "user" else None
    return None


def _turn(place: Path) -> tuple[tuple[Any, ...], int | None]:
    """Return the keys of the field at a place, and the index of the turn in it."""
    keys = _keys(place)
    first = next((i for i, key in enumerate(keys) if isinstance(key, int)), None)
    if first is None or _field(place) == "prompt":
        return tuple(key for key in keys if not isinstance(key, int)), None
    return tuple(keys[:first]), keys[first]
