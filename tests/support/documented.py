"""Requests and events of the shapes that APIs document, one of each kind that other tests lack."""

import json
from dataclasses import dataclass

from hazgate.judging.speech import Role, Side, UnreadKind

_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5E"
_WORDS = {"type": "input_text", "text": "the words"}
_URL = "https://example.org/picture.png"


@dataclass(frozen=True, kw_only=True, slots=True)
class Documented:
    """A body, a text of it with who says that, and the kinds of its parts that are unread."""

    name: str
    body: object
    said: str
    role: Role
    unread: tuple[UnreadKind, ...] = ()
    side: Side = "request"

    @property
    def content(self) -> bytes:
        """The body as JSON."""
        return json.dumps(self.body).encode()


def _of(
    name: str, role: Role, body: object, *unread: UnreadKind, said: str = "the words"
) -> Documented:
    return Documented(name=name, body=body, said=said, role=role, unread=unread)


def _answered(name: str, role: Role, body: object, *unread: UnreadKind) -> Documented:
    return Documented(
        name=name, body=body, said="the words", role=role, unread=unread, side="response"
    )


def _user(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


def _input(*items: object) -> dict[str, object]:
    return {"model": "gpt-5", "input": list(items)}


def _claude(*blocks: object, **more: object) -> dict[str, object]:
    turn = {"role": "user", "content": list(blocks)}
    return {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [turn], **more}


OPENAI = [
    _of(
        "an MCP server as a tool",
        "definition",
        _input({"role": "user", "content": "hello"})
        | {
            "tools": [
                {
                    "type": "mcp",
                    "server_label": "dice",
                    "server_description": "the words",
                    "server_url": "https://example.org/mcp",
                    "require_approval": {"never": {"tool_names": ["roll"]}},
                }
            ]
        },
    ),
    _of(
        "an MCP call",
        "assistant",
        _input(
            {"type": "mcp_call", "id": "mcp_1", "name": "roll", "arguments": '{"a":"the words"}'}
        ),
    ),
    _of(
        "what an MCP call returned",
        "assistant",
        _input({"type": "mcp_call", "id": "mcp_1", "name": "roll", "output": "the words"}),
    ),
    _of(
        "an MCP approval",
        "user",
        _input({"type": "mcp_approval_response", "approve": False, "reason": "the words"}),
    ),
    _of(
        "the tools of an MCP server",
        "definition",
        _input({"type": "mcp_list_tools", "tools": [{"name": "a", "description": "the words"}]}),
    ),
    _of(
        "typing at a computer",
        "assistant",
        _input(
            {
                "type": "computer_call",
                "call_id": "c",
                "action": {"type": "type", "text": "the words"},
            }
        ),
    ),
    _of(
        "a screenshot and a warning",
        "tool",
        _input(
            {
                "type": "computer_call_output",
                "call_id": "c",
                "acknowledged_safety_checks": [{"id": "s_1", "message": "the words"}],
                "output": {"type": "computer_screenshot", "image_url": _URL},
            }
        ),
        "image",
    ),
    _of(
        "code that was interpreted",
        "assistant",
        _input({"type": "code_interpreter_call", "id": "ci_1", "code": "print('the words')"}),
    ),
    _of(
        "logs and a picture of code",
        "tool",
        _input(
            {
                "type": "code_interpreter_call",
                "id": "ci_1",
                "outputs": [{"type": "logs", "logs": "the words"}, {"type": "image", "url": _URL}],
            }
        ),
        "image",
    ),
    _of(
        "a web search",
        "assistant",
        _input(
            {
                "type": "web_search_call",
                "id": "ws",
                "action": {"type": "search", "query": "the words"},
            }
        ),
    ),
    _of(
        "a file search",
        "tool",
        _input(
            {
                "type": "file_search_call",
                "id": "fs_1",
                "queries": ["a query"],
                "results": [{"file_id": "file-1", "filename": "a.md", "text": "the words"}],
            }
        ),
    ),
    _of(
        "a picture that was made",
        "user",
        _input(
            {"role": "user", "content": "the words"},
            {"type": "image_generation_call", "id": "ig_1", "result": _PNG},
        ),
        "image",
    ),
    _of(
        "a shell call",
        "assistant",
        _input({"type": "shell_call", "call_id": "c", "action": {"commands": ["say 'the words'"]}}),
    ),
    _of(
        "a patch",
        "assistant",
        _input(
            {
                "type": "apply_patch_call",
                "call_id": "c",
                "operation": {"type": "update_file", "path": "a.py", "diff": "+ the words"},
            }
        ),
    ),
    _of(
        "a reusable prompt",
        "user",
        {"prompt": {"id": "pmpt_1", "version": "2", "variables": {"city": "the words"}}},
    ),
    _of(
        "an item of a conversation",
        "user",
        {"items": [_user(_WORDS)]},
    ),
    _of(
        "a picture in an item of a conversation",
        "user",
        {
            "items": [
                _user(
                    {"type": "input_text", "text": "the words"},
                    {"type": "input_image", "image_url": _URL},
                )
            ]
        },
        "image",
    ),
    _of(
        "an event of a realtime client",
        "user",
        {
            "type": "conversation.item.create",
            "item": {"type": "message", **_user(_WORDS)},
        },
    ),
    _of(
        "a thread's message with a file",
        "user",
        {"role": "user", "content": "the words", "attachments": [{"file_id": "file-1"}]},
        "file",
    ),
    _of(
        "a thread and its run",
        "user",
        {
            "assistant_id": "asst_1",
            "thread": {"messages": [{"role": "user", "content": "the words", "attachments": []}]},
        },
    ),
    _of(
        "results for a run",
        "tool",
        {"tool_outputs": [{"tool_call_id": "call_1", "output": "the words"}]},
    ),
]
ANTHROPIC = [
    _of(
        "citations",
        "user",
        _claude(
            {
                "type": "text",
                "text": "so it is",
                "citations": [{"type": "char_location", "cited_text": "the words"}],
            }
        ),
    ),
    _of(
        "thinking",
        "assistant",
        _claude(
            {"type": "thinking", "thinking": "the words", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA"}
        ),
    ),
    _of(
        "a server tool",
        "assistant",
        _claude(
            {
                "type": "server_tool_use",
                "id": "srvtoolu_1",
                "name": "web_search",
                "input": {"query": "the words"},
            }
        ),
    ),
    _of(
        "results of a web search",
        "tool",
        _claude(
            {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [
                    {
                        "type": "web_search_result",
                        "title": "the words",
                        "url": "https://example.org",
                        "encrypted_content": _PNG,
                    }
                ],
            }
        ),
        "file",
    ),
    _of(
        "an MCP connector",
        "tool",
        _claude(
            {
                "type": "mcp_tool_result",
                "tool_use_id": "mcptoolu_1",
                "content": [{"type": "text", "text": "the words"}],
            },
            mcp_servers=[{"type": "url", "url": "https://example.org/sse", "name": "example"}],
        ),
    ),
    _of(
        "a document of text",
        "user",
        _claude(
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "the words"},
                "title": "A title",
                "citations": {"enabled": True},
            }
        ),
        "file",
    ),
    _of(
        "a file",
        "user",
        _claude(
            {"type": "text", "text": "the words"},
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ),
        "file",
    ),
    _of(
        "a search result",
        "tool",
        _claude(
            {
                "type": "search_result",
                "source": "https://example.org",
                "title": "A title",
                "content": [{"type": "text", "text": "the words"}],
            }
        ),
    ),
    _of(
        "context management",
        "user",
        _claude(
            {"type": "text", "text": "the words"},
            context_management={
                "edits": [
                    {
                        "type": "clear_tool_uses_20250919",
                        "trigger": {"type": "input_tokens", "value": 30000},
                        "exclude_tools": ["web_search"],
                    }
                ]
            },
        ),
    ),
    _of("a compaction", "assistant", _claude({"type": "compaction", "content": "the words"})),
    _of(
        "a batch of messages with a picture",
        "user",
        {
            "requests": [
                {
                    "custom_id": "first-1",
                    "params": _claude(
                        {"type": "text", "text": "the words"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": _PNG},
                        },
                    ),
                }
            ]
        },
        "image",
    ),
]
GOOGLE = [
    _of(
        "code that was executed",
        "tool",
        {
            "contents": [
                {
                    "role": "model",
                    "parts": [
                        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
                        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "the words"}},
                    ],
                }
            ]
        },
    ),
    _of(
        "a picture that a function returned",
        "tool",
        {
            "contents": [
                {
                    "role": "user",
                    "parts": [
                        {
                            "functionResponse": {
                                "name": "look",
                                "response": {"result": "the words"},
                                "parts": [{"inlineData": {"mimeType": "image/png", "data": _PNG}}],
                            }
                        }
                    ],
                }
            ]
        },
        "file",
    ),
    _of(
        "a system instruction in snake case",
        "system",
        {
            "system_instruction": {"parts": {"text": "the words"}},
            "contents": {"parts": {"text": "hello"}},
            "tools": [{"google_search": {}}, {"code_execution": {}}],
        },
    ),
]
OTHERS = [
    _of(
        "tokens that Bedrock counts",
        "user",
        {
            "input": {
                "converse": {"messages": [{"role": "user", "content": [{"text": "the words"}]}]}
            }
        },
    ),
    _of(
        "Bedrock's InvokeModel with Titan",
        "user",
        {"inputText": "the words", "textGenerationConfig": {"maxTokenCount": 64}},
    ),
    _of(
        "Cohere's documents",
        "tool",
        {
            "model": "command-a-03-2025",
            "messages": [{"role": "user", "content": "hello"}],
            "documents": [{"id": "1", "data": {"title": "A title", "snippet": "the words"}}],
        },
    ),
    _of(
        "Cohere's inputs of text and pictures",
        "user",
        {
            "model": "embed-v4.0",
            "input_type": "search_document",
            "inputs": [
                {
                    "content": [
                        {"type": "text", "text": "the words"},
                        {"type": "image_url", "image_url": {"url": _URL}},
                    ]
                }
            ],
        },
        "image",
    ),
    _of(
        "Mistral's fill in the middle",
        "user",
        {"model": "codestral", "prompt": "def", "suffix": "the words"},
    ),
    _of(
        "Mistral's pages",
        "user",
        {
            "model": "mistral-ocr-latest",
            "document": {"type": "image_url", "image_url": _URL},
            "prompt": "the words",
        },
        "file",
        "file",
    ),
    _of(
        "a conversation with Mistral's agent",
        "tool",
        {
            "agent_id": "ag_1",
            "inputs": [{"type": "function.result", "tool_call_id": "c1", "result": "the words"}],
        },
    ),
    _of(
        "Ollama's messages with empty lists of pictures",
        "user",
        {"model": "llama3.2", "messages": [{"role": "user", "content": "the words", "images": []}]},
    ),
    _of(
        "the native completion of llama.cpp",
        "user",
        {"prompt": "the words", "n_predict": 8, "cache_prompt": True},
    ),
    _of("TGI", "user", {"inputs": "the words", "parameters": {"max_new_tokens": 8, "stop": ["x"]}}),
    _of("TEI's pairs", "user", {"inputs": [["a question", "the words"]]}),
    _of(
        "TEI's rerank", "user", {"query": "a question", "texts": ["the words"], "raw_scores": False}
    ),
    _of(
        "Jina's rerank",
        "tool",
        {"model": "jina", "query": "a question", "documents": [{"text": "the words"}]},
    ),
    _of(
        "Voyage's embeddings",
        "user",
        {"model": "voyage-3.5", "input": ["the words"], "input_type": "document"},
    ),
    _of(
        "Vertex AI's predictions",
        "user",
        {
            "instances": [{"content": "the words", "task_type": "RETRIEVAL_DOCUMENT"}],
            "parameters": {},
        },
    ),
    _of(
        "Azure's own data",
        "definition",
        {
            "messages": [{"role": "user", "content": "hello"}],
            "data_sources": [
                {"type": "azure_search", "parameters": {"role_information": "the words"}}
            ],
        },
    ),
]
ANSWERS = [
    _answered(
        "a delta of MCP arguments",
        "assistant",
        {"type": "response.mcp_call_arguments.delta", "item_id": "mcp_1", "delta": "the words"},
    ),
    _answered(
        "a part of a picture",
        "assistant",
        {
            "type": "response.image_generation_call.partial_image",
            "item_id": "ig_1",
            "partial_image_b64": _PNG,
            "note": "the words",
        },
        "image",
    ),
    _answered(
        "pictures and their prompt",
        "assistant",
        {"created": 1, "data": [{"b64_json": _PNG, "revised_prompt": "the words"}]},
        "image",
    ),
    _answered(
        "a delta of Mistral's agent",
        "assistant",
        {"type": "message.output.delta", "role": "assistant", "content": "the words"},
    ),
    _answered(
        "outputs of Mistral's agent",
        "assistant",
        {"conversation_id": "c1", "outputs": [{"type": "message.output", "content": "the words"}]},
    ),
    _answered(
        "grounding of an answer",
        "tool",
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "so"}]},
                    "groundingMetadata": {"webSearchQueries": ["the words"]},
                }
            ]
        },
    ),
]
DOCUMENTED: list[Documented] = [*OPENAI, *ANTHROPIC, *GOOGLE, *OTHERS, *ANSWERS]
