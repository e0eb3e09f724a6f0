"""Ends of streams that are stopped: a reason in the words of the API that streams.

Sources: OpenAI's chat completion chunks (`finish_reason` content_filter, `delta.refusal`; `error`
for failures) and Responses events (`error`); Anthropic's `error` event; Gemini's `finishReason`
SAFETY; Ollama's line with `error`; Cohere's `message-end`.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

from hazgate.serving.bodies.fields import is_id, is_model
from hazgate.serving.bodies.forms import StreamForm

_Api = Literal["chat", "completion", "responses", "anthropic", "gemini", "cohere", "ollama"]
_ANTHROPIC = ("message_start", "content_block_start", "content_block_delta", "ping")
_COHERE = ("message-start", "content-start", "content-delta", "tool-plan-delta")
_MAX_CHOICES = 128
# The code of a stream whose text is unsafe; any other is that of a failure.
BLOCKED = "blocked"


class StreamEnding:
    """The facts of a stream's events that its end needs."""

    def __init__(self) -> None:
        """Start before the first event, with no API recognised."""
        self._api: _Api | None = None
        self._facts: dict[str, Any] = {}
        # Choices of OpenAI's streams that have not finished.
        self._open: dict[int, None] = {}
        self._sequence = 0

    def note(self, event: object) -> None:
        """Recognise the API by one of its events."""
        if not isinstance(event, dict):
            return
        self._api = _api_of(event) or self._api
        if self._api in ("chat", "completion"):
            self._note_choices(event)
        number = event.get("sequence_number")
        if type(number) is int:
            self._sequence = number + 1

    def bytes_of(self, form: StreamForm, *, code: str, reason: str, is_first: bool) -> bytes:
        """Return the last bytes of a stream that is stopped; none if its API has no words for it.

        Args:
            form: the stream's form.
            code: a word for programs: why it was stopped.
            reason: a sentence for people.
            is_first: no event came before.
        """
        if form == "events":
            return self._last_events(code, reason)
        if form == "lines":
            return _line({"error": reason}) if self._api in (None, "ollama") else b""
        if form == "array":
            last = json.dumps(_gemini(reason))
            return f"{'[' if is_first else ','}{last}]".encode()
        return b""

    def _note_choices(self, event: Mapping[str, Any]) -> None:
        # Nothing that is not of its field's form may leave with the end of the stream.
        forms = {"id": is_id, "model": is_model}
        for name, form in forms.items():
            value = event.get(name)
            if isinstance(value, str) and form(value):
                self._facts[name] = value
        created = event.get("created")
        if type(created) is int:
            self._facts["created"] = created
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            index = choice.get("index", 0) if isinstance(choice, dict) else None
            if type(index) is not int or not 0 <= index < _MAX_CHOICES:
                continue
            if choice.get("finish_reason") is None:
                self._open[index] = None

    def _last_events(self, code: str, reason: str) -> bytes:
        if self._api in ("chat", "completion") and code != BLOCKED:
            error = {"message": reason, "type": code, "param": None, "code": code}
            return _event({"error": error}) + b"data: [DONE]\n\n"
        if self._api in ("chat", "completion"):
            chunk = {
                "id": "stopped",
                "object": "chat.completion.chunk" if self._api == "chat" else "text_completion",
                "created": 0,
                "model": "unknown",
                **self._facts,
                "choices": [self._last_choice(index, reason) for index in self._open or (0,)],
            }
            return _event(chunk) + b"data: [DONE]\n\n"
        if self._api == "responses":
            error = {"type": "error", "code": code, "message": reason, "param": None}
            return _event({**error, "sequence_number": self._sequence}, name="error")
        if self._api == "anthropic":
            error = {"type": "invalid_request_error", "message": reason}
            return _event({"type": "error", "error": error}, name="error")
        if self._api == "gemini":
            return _event(_gemini(reason))
        if self._api == "cohere":
            delta = {"finish_reason": "ERROR", "error": reason}
            return _event({"type": "message-end", "delta": delta}, name="message-end")
        # A comment: no client takes it for an event.
        return f": {reason}\n\n".encode()

    def _last_choice(self, index: int, reason: str) -> dict[str, Any]:
        said: dict[str, Any] = {"text": ""}
        if self._api == "chat":
            said = {"delta": {"refusal": reason}}
        return {"index": index, **said, "logprobs": None, "finish_reason": "content_filter"}


def _api_of(event: Mapping[str, Any]) -> _Api | None:
    kind = event.get("type")
    if isinstance(event.get("choices"), list):
        is_text = event.get("object") == "text_completion"
        return "completion" if is_text else "chat"
    if isinstance(kind, str):
        if kind.startswith("response."):
            return "responses"
        if kind in _ANTHROPIC:
            return "anthropic"
        if kind in _COHERE:
            return "cohere"
    if "candidates" in event:
        return "gemini"
    return "ollama" if type(event.get("done")) is bool else None


def _gemini(reason: str) -> dict[str, Any]:
    candidate = {"index": 0, "finishReason": "SAFETY", "finishMessage": reason}
    return {"candidates": [{**candidate, "content": {"role": "model", "parts": []}}]}


def _event(data: Mapping[str, Any], *, name: str | None = None) -> bytes:
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def _line(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"
