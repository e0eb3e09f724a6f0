"""Fields that several APIs share, and the words of their settings."""

from hazgate.serving.bodies.fields import (
    Field,
    is_id,
    is_mime,
    is_model,
    is_opaque,
    one_of,
)

TEXT = Field(joined=True)
ID = Field(form=is_id)
MODEL = Field(form=is_model)
OPAQUE = Field(form=is_opaque)
MIME = Field(form=is_mime)
TURNS = Field(place="turn")
PARTS = Field(place="part", joined=True)
CALLS = Field(place="call", role="assistant")
DEFINITIONS = Field(place="definition")
FREE = Field(place="free")
NESTED = Field(place="free", nested=True)
IMAGE = Field(place="media", unread="image")
AUDIO = Field(place="media", unread="audio")
VIDEO = Field(place="media", unread="video")
FILE = Field(place="media", unread="file")
EMBEDDINGS = Field(place="media", unread="embeddings")
# Bytes or an address in a part of no known type; anything else there is read.
UNREAD_FILE = Field(form=is_opaque, unread="file")

ROLE = Field(
    form=one_of(
        *("system", "developer", "user", "human", "assistant", "model", "ai", "chatbot", "tool"),
        *("function", "USER", "CHATBOT", "SYSTEM", "TOOL", "critic", "discriminator"),
    )
)

# Values of settings. Anything else in their place is read.
SETTING = Field(
    form=one_of(
        *("auto", "none", "required", "any", "all", "default", "enabled", "disabled", "on", "off"),
        *("minimal", "low", "medium", "high", "xhigh", "max", "concise", "detailed", "verbose"),
        *("json", "json_object", "json_schema", "text", "float", "base64", "binary", "int8"),
        *("uint8", "ubinary", "ephemeral", "5m", "1h", "24h", "in_memory", "flex", "priority"),
        *("scale", "standard", "standard_only", "fast", "START", "END", "NONE", "LEFT", "RIGHT"),
        *("left", "right", "start", "end", "adaptive", "summarized", "omitted", "user", "model"),
        *("audio", "image", "TEXT", "IMAGE", "AUDIO", "wav", "mp3", "flac", "opus", "pcm16", "png"),
        *("jpeg", "jpg", "webp", "gif", "pdf", "csv", "html", "txt", "md", "function", "tool"),
        *("allowed_tools", "grammar", "lark", "regex", "streaming", "completed", "in_progress"),
        *("incomplete", "failed", "success", "error", "succeeded", "queued", "cancelled"),
        *("approximate", "web_search", "file_search", "code_interpreter", "ANY", "AUTO"),
        *("VALIDATED", "application/json", "text/plain", "text/x.enum", "2.0", "never", "always"),
    )
)
FINISH = Field(
    form=one_of(
        *("stop", "length", "tool_calls", "content_filter", "function_call", "end_turn"),
        *("max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "COMPLETE"),
        *("MAX_TOKENS", "STOP", "SAFETY", "RECITATION", "OTHER", "ERROR", "TOOL_CALL", "load"),
        *("unload", "eos", "eos_token", "abort", "stop_str", "guardrail_intervened", "LANGUAGE"),
        *("content_filtered", "model_context_window_exceeded", "MALFORMED_FUNCTION_CALL"),
    )
)
