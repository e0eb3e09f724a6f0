"""Cohere's chat, versions 1 and 2, and rerank."""

from hazgate.serving.bodies.apis.common import FREE, SETTING, TEXT, TURNS
from hazgate.serving.bodies.fields import Api, Field, is_id

API = Api(
    name="Cohere",
    fields={
        ("body", "chat_history"): TURNS,
        ("body", "preamble"): Field(role="system"),
        ("body", "tool_results"): Field(place="free", role="tool"),
        ("body", "search_queries"): Field(place="free", role="assistant"),
        ("body", "connectors"): FREE,
        ("body", "conversation_id"): Field(form=is_id),
        ("body", "prompt_truncation"): SETTING,
        ("body", "citation_options"): SETTING,
        ("body", "safety_mode"): Field(form=lambda v: v in ("CONTEXTUAL", "STRICT", "OFF", "NONE")),
        ("turn", "message"): Field(place="turn", joined=True),
        ("turn", "tool_plan"): TEXT,
        ("turn", "citations"): FREE,
        ("part", "thinking"): TEXT,
        ("part", "document"): Field(place="free", role="tool"),
    },
    types={"document": None},
    media={},
)
