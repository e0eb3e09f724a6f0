"""Google's Gemini, in both of its spellings (camel case and snake case)."""

import re

from hazgate.serving.bodies.apis.common import (
    AUDIO,
    CALLS,
    DEFINITIONS,
    FILE,
    FINISH,
    FREE,
    ID,
    MIME,
    MODEL,
    NESTED,
    OPAQUE,
    PARTS,
    SETTING,
    TURNS,
)
from hazgate.serving.bodies.fields import Api, Field, one_of

_HARM = re.compile(r"(HARM_CATEGORY|BLOCK|HARM_BLOCK_THRESHOLD|HARM_PROBABILITY)_[A-Z_]{1,40}")
_LEVELS = frozenset(("NEGLIGIBLE", "LOW", "MEDIUM", "HIGH", "OFF"))
_SAFETY = Field(form=lambda value: _HARM.fullmatch(value) is not None or value in _LEVELS)
_SYSTEM = Field(place="turn", role="system")
_CONFIG = Field(place="definition", form=SETTING.form)
_RESULT = Field(place="call", role="tool")

API = Api(
    name="Google Gemini",
    fields={
        ("body", "contents"): TURNS,
        ("body", "systemInstruction"): _SYSTEM,
        ("body", "system_instruction"): _SYSTEM,
        ("body", "generationConfig"): _CONFIG,
        ("body", "generation_config"): _CONFIG,
        ("body", "toolConfig"): _CONFIG,
        ("body", "tool_config"): _CONFIG,
        # Vertex AI's predictions: each instance is a body of its own.
        ("body", "instances"): Field(place="body"),
        ("body", "safetySettings"): _SAFETY,
        ("body", "safety_settings"): _SAFETY,
        ("body", "cachedContent"): ID,
        ("body", "candidates"): Field(place="event", role="assistant"),
        ("body", "modelVersion"): MODEL,
        ("body", "responseId"): ID,
        ("event", "content"): TURNS,
        ("event", "finishReason"): FINISH,
        ("event", "safetyRatings"): _SAFETY,
        ("event", "groundingMetadata"): Field(place="free", role="tool"),
        ("turn", "parts"): PARTS,
        ("part", "functionCall"): CALLS,
        ("part", "function_call"): CALLS,
        ("part", "functionResponse"): _RESULT,
        ("part", "function_response"): _RESULT,
        ("part", "executableCode"): Field(place="free", role="assistant"),
        ("part", "executable_code"): Field(place="free", role="assistant"),
        ("part", "codeExecutionResult"): Field(place="free", role="tool"),
        ("part", "code_execution_result"): Field(place="free", role="tool"),
        ("part", "inlineData"): FILE,
        ("part", "inline_data"): FILE,
        ("part", "fileData"): FILE,
        ("part", "file_data"): FILE,
        ("part", "thoughtSignature"): OPAQUE,
        ("part", "thought_signature"): OPAQUE,
        ("part", "videoMetadata"): FREE,
        ("call", "args"): FREE,
        ("call", "response"): NESTED,
        ("call", "parts"): PARTS,
        ("media", "mimeType"): MIME,
        ("media", "fileUri"): OPAQUE,
        ("media", "file_uri"): OPAQUE,
        ("definition", "functionDeclarations"): DEFINITIONS,
        ("definition", "function_declarations"): DEFINITIONS,
        ("definition", "responseModalities"): SETTING,
        ("definition", "voiceSampleAudio"): AUDIO,
        ("definition", "consentAudio"): AUDIO,
        ("definition", "mode"): Field(form=one_of("AUTO", "ANY", "NONE", "VALIDATED")),
    },
    types={},
    media={},
)
