"""OpenAI's Responses API, its streamed events, and Assistants' threads."""

from hazgate.serving.bodies.apis.common import (
    DEFINITIONS,
    FILE,
    FREE,
    ID,
    IMAGE,
    NESTED,
    PARTS,
    SETTING,
    TEXT,
    TURNS,
    UNREAD_FILE,
)
from hazgate.serving.bodies.fields import Api, Field, TextlessRequest, is_id, words

_EVENT = "response."
_SETTINGS = words(
    """
    model stream temperature top_p metadata tool_choice parallel_tool_calls truncation
    max_prompt_tokens max_completion_tokens max_output_tokens reasoning_effort response_format
    """
)

API = Api(
    name="OpenAI Responses and Assistants",
    fields={
        ("body", "instructions"): Field(place="part", role="system", joined=True),
        ("body", "additional_instructions"): Field(role="system"),
        ("body", "additional_messages"): TURNS,
        ("body", "thread"): Field(place="body"),
        ("body", "input"): Field(place="turn", ids=True),
        ("body", "output"): Field(place="turn", role="assistant"),
        ("body", "output_text"): Field(role="assistant"),
        ("body", "text"): Field(place="definition"),
        ("body", "reasoning"): SETTING,
        ("body", "truncation"): SETTING,
        ("body", "include"): Field(form=is_id),
        ("body", "conversation"): ID,
        ("body", "previous_response_id"): ID,
        ("body", "assistant_id"): ID,
        ("body", "status"): SETTING,
        # Streamed events.
        ("body", "type"): Field(form=lambda value: value.startswith(_EVENT) and is_event(value)),
        ("body", "response"): Field(place="body", role="assistant"),
        ("body", "item"): Field(place="turn", role="assistant"),
        ("body", "part"): Field(place="part", role="assistant"),
        ("body", "delta"): Field(place="turn", role="assistant"),
        ("body", "arguments"): Field(place="free", role="assistant", nested=True),
        ("body", "item_id"): ID,
        ("body", "obfuscation"): Field(form=is_id),
        ("turn", "attachments"): FILE,
        ("turn", "file_ids"): FILE,
        ("turn", "status"): SETTING,
        ("turn", "phase"): SETTING,
        ("turn", "call_id"): ID,
        ("turn", "arguments"): NESTED,
        ("turn", "input"): NESTED,
        ("turn", "output"): PARTS,
        ("turn", "summary"): PARTS,
        ("turn", "encrypted_content"): Field(unread="reasoning", place="media"),
        ("turn", "action"): FREE,
        ("turn", "results"): Field(place="free", role="tool"),
        ("turn", "outputs"): Field(place="free", role="tool"),
        ("turn", "tools"): DEFINITIONS,
        ("turn", "approval_request_id"): ID,
        ("part", "image_file"): IMAGE,
        ("part", "annotations"): FREE,
        ("part", "logprobs"): FREE,
        ("part", "file_id"): ID,
        ("part", "file_data"): UNREAD_FILE,
        ("part", "file_url"): UNREAD_FILE,
        ("part", "detail"): SETTING,
        ("part", "transcript"): TEXT,
    },
    types={
        "message": None,
        "input_text": None,
        "output_text": None,
        "summary_text": "assistant",
        "reasoning_text": "assistant",
        "reasoning": "assistant",
        "function_call": "assistant",
        "custom_tool_call": "assistant",
        "mcp_call": "assistant",
        "mcp_list_tools": "definition",
        "mcp_approval_request": "assistant",
        "mcp_approval_response": "user",
        "web_search_call": "assistant",
        "file_search_call": "assistant",
        "code_interpreter_call": "assistant",
        "computer_call": "assistant",
        "local_shell_call": "assistant",
        "shell_call": "assistant",
        "apply_patch_call": "assistant",
        "function_call_output": "tool",
        "custom_tool_call_output": "tool",
        "computer_call_output": "tool",
        "local_shell_call_output": "tool",
        "shell_call_output": "tool",
        "apply_patch_call_output": "tool",
        "item_reference": None,
    },
    media={
        "input_image": "image",
        "image_file": "image",
        "output_image": "image",
        "computer_screenshot": "image",
        "image_generation_call": "image",
        "input_file": "file",
        "container_file_citation": "file",
    },
    # They create what texts come to later, run what was read before, or end it.
    textless=(
        TextlessRequest(route="/threads", keys=words("messages metadata tool_resources")),
        TextlessRequest(route="/threads/*", keys=words("metadata tool_resources")),
        TextlessRequest(route="/threads/*/runs", keys=_SETTINGS | words("assistant_id tools")),
        TextlessRequest(route="/threads/runs", keys=_SETTINGS | words("assistant_id thread tools")),
        TextlessRequest(route="/threads/*/runs/*/cancel"),
        TextlessRequest(route="/assistants", keys=_SETTINGS | words("tools tool_resources")),
        TextlessRequest(route="/conversations", keys=words("items metadata")),
        TextlessRequest(route="/responses/*/cancel"),
        TextlessRequest(
            route="/responses/compact", keys=words("model previous_response_id prompt_cache_key")
        ),
        TextlessRequest(route="/batches/*/cancel"),
        TextlessRequest(route="/realtime/client_secrets", keys=words("expires_after session")),
        TextlessRequest(route="/vector_stores", keys=words("metadata expires_after")),
    ),
)


def is_event(value: str) -> bool:
    """Recognise the name of a streamed event: lower-case words joined by dots."""
    return len(value) <= 64 and _EVENT_WORDS.issuperset(value.replace("_", ".").split("."))


_EVENT_WORDS = words(
    """
    response created queued in progress completed failed incomplete output item added done
    content part text delta refusal function call arguments file search searching web
    interpreting code interpreter image generation generating partial mcp list tools
    reasoning summary annotation custom tool input audio transcript error
    """
)
