"""What there is to read in the bodies of LLM APIs: what was asked, and what was answered. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from hazgate.errors import InputError
from hazgate.text.conversation import parse_messages

# Fields of the request bodies of LLM APIs that hold what a user wrote.
_ASKED = ("input", "prompt", "text", "inputs", "system", "instructions")
_EVENT = b"data:"
# Requests of these methods have a body; where none came, somebody was not told to send it.
_WITH_BODY = ("POST", "PUT", "PATCH")


def texts_asked(method: str, body: bytes) -> list[str]:
    """The texts of a request whose body a gateway was to send along, see `texts_of_request`.

    Raises:
        InputError: as there, or the method has a body and none came.
    """
    if method.upper() in _WITH_BODY and not body.strip():
        raise InputError(
            "no body came with the request, so that nothing could be read; let the gateway send it "
            "(Envoy: with_request_body)"
        )
    return texts_of_request(body)


def texts_of_request(body: bytes) -> list[str]:
    """The texts that a request asks about: of an LLM API's JSON its fields, else the whole body.

    Raises:
        InputError: it is not UTF-8, or its messages cannot be read.
    """
    if not body.strip():
        return []
    text, data = _read(body)
    if not isinstance(data, dict):
        return [text]
    texts: list[str] = []
    if isinstance(data.get("messages"), list) and data["messages"]:
        texts += [message.content for message in parse_messages(data["messages"])]
        for message in _objects(data["messages"]):
            texts += _arguments(message)
    for name in _ASKED:
        texts += _strings(data.get(name))
    # As Gemini's API spells a conversation.
    for turn in [*_objects(data.get("contents")), data.get("systemInstruction")]:
        if isinstance(turn, dict):
            texts += _strings(turn.get("parts"))
    # A JSON body of another kind is text like any other.
    return texts or [text]


def texts_of_response(body: bytes) -> list[str]:
    """The texts that a model answered, those of each choice put together where they came in events.

    Reads chat and text completions, responses and messages as OpenAI's and Anthropic's APIs spell
    them, whole or as server-sent events; any other body is read as one text.

    Raises:
        InputError: it is not UTF-8.
    """
    if not body.strip():
        return []
    if body.lstrip().startswith(_EVENT):
        return _texts_of_events(body)
    text, data = _read(body)
    if not isinstance(data, dict):
        return [text]
    texts = [said for _, said in _said(data)]
    return texts or [text]


def _texts_of_events(body: bytes) -> list[str]:
    text, _ = _read(body)
    by_choice: dict[int, str] = {}
    for line in text.splitlines():
        if not line.startswith("data:"):
            continue
        event = _parsed(line.removeprefix("data:"))
        if isinstance(event, dict):
            for choice, said in _said(event):
                by_choice[choice] = by_choice.get(choice, "") + said
    # Events of another kind are text like any other.
    return list(by_choice.values()) or [text]


def _said(data: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """What a body or an event says, with the place of the choice that says it."""
    for place, choice in enumerate(_objects(data.get("choices"))):
        index = choice.get("index", place)
        for holder in (choice.get("message"), choice.get("delta"), choice):
            if isinstance(holder, dict):
                said = [
                    text
                    for name in ("content", "text", "reasoning_content", "refusal")
                    for text in _strings(holder.get(name))
                ]
                for text in [*said, *_arguments(holder)]:
                    yield (index if isinstance(index, int) else place), text
    for place, output in enumerate([*_objects(data.get("output")), data]):
        for text in [*_strings(output.get("content")), *_strings(output.get("arguments"))]:
            yield place, text
    for place, candidate in enumerate(_objects(data.get("candidates"))):
        turn = candidate.get("content")
        for text in _strings(turn.get("parts")) if isinstance(turn, dict) else ():
            yield place, text
    # An event of the APIs whose answers have no choices.
    delta = data.get("delta")
    for text in _strings(delta.get("text") if isinstance(delta, dict) else delta):
        yield 0, text


def _read(body: bytes) -> tuple[str, object]:
    """A body as text, and as JSON if it is such, else None.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("the body is not UTF-8 text; compressed bodies cannot be read") from None
    return text, _parsed(text)


def _parsed(text: str) -> object:
    try:
        data: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data


def _arguments(message: dict[str, Any]) -> list[str]:
    """What a message hands to functions."""
    calls = [call.get("function") for call in _objects(message.get("tool_calls"))]
    return [
        text for call in calls if isinstance(call, dict) for text in _strings(call.get("arguments"))
    ]


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: object) -> list[str]:
    """A string, or the strings of a list and the texts of its parts."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return []
    texts = [item for item in value if isinstance(item, str)]
    return texts + [part["text"] for part in _objects(value) if isinstance(part.get("text"), str)]
