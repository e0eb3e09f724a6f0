"""Ollama's chat and generate, streamed as lines of JSON."""

import re

from hazgate.serving.bodies.apis.common import FINISH, FREE, IMAGE, SETTING, TEXT
from hazgate.serving.bodies.fields import Api, Field, TextlessRequest, words

_TIME = re.compile(r"[0-9T:.+\-Z]{1,40}")
_DURATION = re.compile(r"-?([0-9.]{1,8}(ns|us|ms|[smh])?){1,4}")

# Loads a model, or unloads it with keep_alive 0.
_LOAD = words("model prompt messages keep_alive stream format think raw options")

API = Api(
    name="Ollama",
    fields={
        ("body", "template"): Field(role="system"),
        ("body", "images"): IMAGE,
        ("body", "format"): Field(place="definition", form=SETTING.form),
        ("body", "options"): FREE,
        ("body", "keep_alive"): Field(form=lambda value: _DURATION.fullmatch(value) is not None),
        ("body", "think"): SETTING,
        ("body", "created_at"): Field(form=lambda value: _TIME.fullmatch(value) is not None),
        ("body", "done_reason"): FINISH,
        ("body", "thinking"): Field(role="assistant", form=SETTING.form),
        # The conversation so far, as the tokens of a model.
        ("body", "context"): Field(ids=True),
        ("turn", "images"): IMAGE,
        ("turn", "tool_name"): TEXT,
    },
    types={},
    media={},
    textless=(
        TextlessRequest(route="/api/generate", keys=_LOAD),
        TextlessRequest(route="/api/chat", keys=_LOAD),
    ),
)
