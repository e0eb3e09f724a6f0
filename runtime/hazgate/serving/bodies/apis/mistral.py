"""Mistral's documents, in chats and for its OCR; the rest is as in OpenAI's chat completions."""

from hazgate.serving.bodies.apis.common import FILE, TEXT
from hazgate.serving.bodies.fields import Api, Field

API = Api(
    name="Mistral",
    fields={
        ("body", "document"): FILE,
        ("body", "outputs"): Field(place="turn", role="assistant"),
        ("turn", "result"): TEXT,
        ("part", "document_url"): FILE,
        ("media", "document_url"): FILE,
        ("media", "image_url"): FILE,
    },
    types={
        "message.input": None,
        "message.output": "assistant",
        "function.call": "assistant",
        "function.result": "tool",
        "tool.execution": "tool",
        "agent.handoff": "assistant",
    },
    media={"document_url": "file", "tool_file": "file"},
)
