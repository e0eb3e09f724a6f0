"""The turns of a conversation, each read by itself, and all of them as one text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hazgate.bundle.manifest import ConversationSpec
from hazgate.errors import InputError
from hazgate.judging.speech import role_named
from hazgate.serving.bodies.passages import BodyText, Passage, spelt
from hazgate.serving.bodies.table import NAMES
from hazgate.serving.bodies.walk import read_value
from hazgate.text.conversation import Scope

_FIRST = "$.messages[0]"


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTurn:
    """One message: its index, the name of its speaker, and everything that it says.

    A message without any text has one empty passage.
    """

    index: int
    speaker: str
    body: BodyText

    def path(self, place: tuple[Any, ...]) -> str:
        """Return the JSON path of a place in this message; keys of the caller's own are `*`."""
        return f"$.messages[{self.index}]" + spelt(place, NAMES).removeprefix(_FIRST)


def read_turns(messages: Sequence[Mapping[str, Any]]) -> list[ReadTurn]:
    """Read every message of a conversation, tool calls and unknown fields included.

    Raises:
        InputError: there is no message, one has no string `role`, or one cannot be read.
    """
    if not messages:
        raise InputError("a conversation needs at least one message, got none")
    wrong = [i for i, message in enumerate(messages) if not isinstance(message.get("role"), str)]
    if wrong:
        raise InputError(
            "; ".join(f"message {i}: role: expected a string" for i in wrong)
            + ": each message is an object with role and content"
        )
    return [_turn(i, message) for i, message in enumerate(messages)]


def in_scope(turns: Sequence[ReadTurn], scope: Scope, spec: ConversationSpec) -> list[ReadTurn]:
    """Return the turns to judge: each, the last, or one turn that says the whole conversation.

    The text of the whole is in the bundle's format; the passages of a turn are lines of it. Its
    unread parts are those of `turns`.
    """
    if scope == "each":
        return list(turns)
    if scope == "last":
        return [turns[-1]]
    said = [
        spec.turn.format(
            role=turn.speaker, content="\n".join(passage.text for passage in turn.body.passages)
        )
        for turn in turns
    ]
    whole = Passage(text=spec.separator.join(said), place=(), role="unknown")
    return [ReadTurn(index=0, speaker="", body=BodyText(passages=(whole,)))]


def question_before(turns: Sequence[ReadTurn], index: int) -> tuple[str, ...]:
    """Return the last user turn before a turn; none if no user said anything before it."""
    for turn in reversed(turns[:index]):
        said = [passage.text for passage in turn.body.passages if passage.role == "user"]
        if any(said):
            return ("\n".join(said),)
    return ()


def _turn(index: int, message: Mapping[str, Any]) -> ReadTurn:
    body = read_value({"messages": [message]}, "request")
    speaker = message["role"]
    if not body.passages:
        place = ((((), "messages"), 0), "content")
        empty = Passage(text="", place=place, role=role_named(speaker))
        body = BodyText(passages=(empty,), unread=body.unread)
    return ReadTurn(index=index, speaker=speaker, body=body)
