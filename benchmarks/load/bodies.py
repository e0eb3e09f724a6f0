"""Requests of any size, as chats and agents send them."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping

_PROSE = "The committee will publish its report next spring. "
_CODE = "def rounded(x):\n    return round(x, 2)\n"
_MOST_TOOLS = 20
_BYTES_PER_TOOL = 5_000


def prompt(size_bytes: int) -> bytes:
    """Return a completion's request of about this size: one text."""
    return json.dumps({"model": "m", "prompt": _PROSE * (size_bytes // len(_PROSE))}).encode()


def chat(size_bytes: int) -> bytes:
    """Return a conversation of about this size: turns of some sentences each."""
    turns: Iterator[list[Mapping[str, object]]] = (
        [{"role": ("user", "assistant")[i % 2], "content": f"Turn {i}. {_PROSE * 10}"}]
        for i in itertools.count()
    )
    return _with_messages({"model": "m"}, turns, size_bytes)


def agent(size_bytes: int) -> bytes:
    """Return an agent's request of about this size: tools, calls and results of calls."""
    return _with_messages(_agents_head(size_bytes), map(_step, itertools.count()), size_bytes)


def blocks(size_bytes: int) -> bytes:
    """Return the same in Anthropic's form: blocks of content, arguments as objects."""
    return _with_messages(_agents_head(size_bytes), map(_block_step, itertools.count()), size_bytes)


BODIES: Mapping[str, Callable[[int], bytes]] = {
    "one prompt": prompt,
    "chat": chat,
    "agent, OpenAI": agent,
    "agent, Anthropic": blocks,
}


def _with_messages(
    head: Mapping[str, object], steps: Iterator[list[Mapping[str, object]]], size_bytes: int
) -> bytes:
    """Return a request with messages of as many steps as its size has room for."""
    messages: list[Mapping[str, object]] = []
    n_bytes = len(json.dumps(head))
    for step in steps:
        messages += step
        n_bytes += len(json.dumps(step))
        if n_bytes >= size_bytes:
            break
    return json.dumps({**head, "messages": messages}).encode()


def _agents_head(size_bytes: int) -> Mapping[str, object]:
    tools = [_tool(i) for i in range(min(_MOST_TOOLS, 1 + size_bytes // _BYTES_PER_TOOL))]
    return {"model": "m", "tools": tools}


def _step(i: int) -> list[Mapping[str, object]]:
    arguments = json.dumps({"path": f"src/module_{i}.py", "limit": 200})
    function = {"name": "read_file", "arguments": arguments}
    call = {"id": f"call_{i}", "type": "function", "function": function}
    return [
        {"role": "user", "content": f"please look at module {i} and mend its test"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{i}", "content": f"# {i}\n{_CODE * 12}"},
    ]


def _block_step(i: int) -> list[Mapping[str, object]]:
    arguments = {"path": f"src/module_{i}.py", "limit": 200}
    call = {"type": "tool_use", "id": f"toolu_{i}", "name": "read_file", "input": arguments}
    said = {"type": "text", "text": f"Now I look at module {i}, whose test fails."}
    result = [{"type": "text", "text": f"# {i}\n{_CODE * 12}"}]
    answer = {"type": "tool_result", "tool_use_id": f"toolu_{i}", "content": result}
    return [
        {"role": "assistant", "content": [said, call]},
        {"role": "user", "content": [answer]},
    ]


def _tool(i: int) -> Mapping[str, object]:
    properties = {
        "path": {"type": "string", "description": "Path of the file, relative to the project"},
        "limit": {"type": "integer", "description": "Most lines to return"},
    }
    parameters = {"type": "object", "properties": properties, "required": ["path"]}
    description = "Read a file of the project and return its lines."
    function = {"name": f"tool_{i}", "description": description, "parameters": parameters}
    return {"type": "function", "function": function}
