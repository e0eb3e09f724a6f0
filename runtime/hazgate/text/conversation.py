"""A conversation as texts for a classifier: the last turn, each turn, or the whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hazgate.bundle.manifest import ConversationSpec
from hazgate.errors import InputError
from hazgate.judging.verdict import Verdict

Scope = Literal["last", "each", "whole"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One turn: the speaker's role ("user", "assistant", …) and the text."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationVerdict:
    """The verdict on a conversation.

    `verdicts` has one verdict per text that was read: one per turn, or a single one. `decisive` is
    the index of the most unsafe turn, None if the conversation was read as one text.
    """

    flagged: bool
    decisive: int | None
    verdicts: tuple[Verdict, ...]

    @property
    def worst(self) -> Verdict:
        """The most unsafe of `verdicts`; one that is flagged before any other."""
        return max(self.verdicts, key=lambda verdict: (verdict.flagged, verdict.unsafe))


def parse_messages(data: Iterable[object]) -> list[Message]:
    """Return messages from the form of chat APIs: objects with `role` and `content`.

    `content` is a string, or a list of parts of type "text" as in OpenAI's chat completions; null
    is an empty text. Nothing else is read, so a message that holds more is refused: the server's
    `/v1/check` reads tool calls, results and all other fields.

    Raises:
        InputError: elements are something else, or hold more; names all of them and quotes none.
    """
    messages, problems = [], []
    for i, item in enumerate(data):
        message = _message(item)
        if isinstance(message, Message):
            messages.append(message)
        else:
            problems.append(f"message {i}: {message}")
    if problems:
        raise InputError("; ".join(problems))
    return messages


def texts_of(messages: Sequence[Message], scope: Scope, spec: ConversationSpec) -> list[str]:
    """Return the texts to read.

    Args:
        messages: the turns, oldest first; not empty.
        scope: "last" and "each" read turns by themselves, "whole" reads them as one text.
        spec: the format of turns as one text.

    Raises:
        InputError: there is no message.
    """
    if not messages:
        raise InputError("a conversation needs at least one message, got none")
    if scope == "last":
        return [messages[-1].content]
    if scope == "each":
        return [message.content for message in messages]
    turns = (spec.turn.format(role=m.role, content=m.content) for m in messages)
    return [spec.separator.join(turns)]


def conclude(
    verdicts: Sequence[Verdict], scope: Scope, messages: Sequence[Message]
) -> ConversationVerdict:
    """Return the conversation's verdict: flagged if any of its texts is."""
    worst = max(range(len(verdicts)), key=lambda i: (verdicts[i].flagged, verdicts[i].unsafe))
    places = {"last": len(messages) - 1, "each": worst, "whole": None}
    return ConversationVerdict(
        flagged=any(verdict.flagged for verdict in verdicts),
        decisive=places[scope],
        verdicts=tuple(verdicts),
    )


def _message(item: object) -> Message | str:
    """Return the message, or what is wrong with it."""
    if not isinstance(item, Mapping):
        return f"expected an object with role and content, got {type(item).__name__}"
    role, content = item.get("role"), item.get("content", "")
    if any(value for key, value in item.items() if key not in ("role", "content")):
        return "only role and content are read here; the message has other fields"
    if not isinstance(role, str):
        return f"role: expected a string, got {type(role).__name__}"
    if content is None:
        content = ""
    if isinstance(content, list):
        kinds = [part.get("type") if isinstance(part, Mapping) else None for part in content]
        if any(kind != "text" for kind in kinds):
            return "content: only parts of type 'text' can be read"
        if any(part.keys() - {"type", "text"} for part in content):
            return "content: only type and text of a part are read here; one has other fields"
        parts = [part.get("text") for part in content]
        if not all(isinstance(part, str) for part in parts):
            return "content: a part of type 'text' has no string `text`"
        content = "\n".join(parts)
    if not isinstance(content, str):
        return f"content: expected a string or a list of parts, got {type(content).__name__}"
    return Message(role=role, content=content)
