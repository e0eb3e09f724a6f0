"""`python -m benchmarks.load.reading`: the time to read a body, next to json.loads of it.

It prints processor time of one thread, which other work on the machine changes least. Nothing is
written.
"""

import json
import time
from collections.abc import Callable, Mapping
from itertools import count

import click

from benchmarks.harness.command import refusals
from hazgate.serving.bodies.read import read_body

_HEADERS = {"content-type": "application/json"}
_SIZES_BYTES = (100_000, 400_000, 2_000_000)
_PROSE = "The committee will publish its report next spring. "
_CODE = "def rounded(x):\n    return round(x, 2)\n"
_N_TOOLS = 20


@click.command(epilog="Example: python -m benchmarks.load.reading --repeats 50")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Readings of each body; the quickest counts.",
)
@refusals()
def main(repeats: int) -> None:
    """Read chats and agents' requests of several sizes, and print the time of each."""
    click.echo("body\tbytes\tpassages\tread ms\tjson.loads ms\tratio\tns a byte")
    for name, make in _BODIES.items():
        for size_bytes in _SIZES_BYTES:
            click.echo(_line(name, make(size_bytes), repeats))


def chat(size_bytes: int) -> bytes:
    """Return a conversation of about this size: turns of some sentences each."""
    messages: list[Mapping[str, object]] = []
    n_bytes = 0
    for i in count():
        if n_bytes >= size_bytes:
            break
        message = {"role": ("user", "assistant")[i % 2], "content": f"Turn {i}. {_PROSE * 10}"}
        messages.append(message)
        n_bytes += len(json.dumps(message))
    return json.dumps({"model": "m", "messages": messages}).encode()


def agent(size_bytes: int) -> bytes:
    """Return an agent's request of about this size: tools, calls and results of calls."""
    messages: list[Mapping[str, object]] = [{"role": "system", "content": _PROSE * 100}]
    n_bytes = len(json.dumps(messages))
    for i in count():
        if n_bytes >= size_bytes:
            break
        arguments = json.dumps({"path": f"src/module_{i}.py", "limit": 200})
        function = {"name": "read_file", "arguments": arguments}
        call = {"id": f"call_{i}", "type": "function", "function": function}
        step: list[Mapping[str, object]] = [
            {"role": "user", "content": f"please look at module {i} and mend its test"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{i}", "content": f"# {i}\n{_CODE * 12}"},
        ]
        messages += step
        n_bytes += len(json.dumps(step))
    tools = [_tool(i) for i in range(_N_TOOLS)]
    return json.dumps({"model": "m", "messages": messages, "tools": tools}).encode()


_BODIES: Mapping[str, Callable[[int], bytes]] = {"chat": chat, "agent": agent}


def _tool(i: int) -> Mapping[str, object]:
    properties = {
        "path": {"type": "string", "description": "Path of the file, relative to the project"},
        "limit": {"type": "integer", "description": "Most lines to return"},
    }
    parameters = {"type": "object", "properties": properties, "required": ["path"]}
    description = "Read a file of the project and return its lines."
    function = {"name": f"tool_{i}", "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def _line(name: str, body: bytes, repeats: int) -> str:
    read = read_body(_HEADERS, body, "request")
    read_s = _least_s(lambda: read_body(_HEADERS, body, "request"), repeats)
    json_s = _least_s(lambda: json.loads(body), repeats)
    figures = (
        name,
        f"{len(body)}",
        f"{len(read.passages)}",
        f"{read_s * 1e3:.2f}",
        f"{json_s * 1e3:.2f}",
        f"{read_s / json_s:.1f}",
        f"{read_s / len(body) * 1e9:.1f}",
    )
    return "\t".join(figures)


def _least_s(call: Callable[[], object], repeats: int) -> float:
    """Return the processor time of the quickest of some calls."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
