"""A LiteLLM proxy, set up as in SERVING.md, asks hazgate before and after its model."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.harness.ports import free_port
from benchmarks.harness.server import Server, serving
from tests.gateway.clients.kit import (
    API_KEY,
    GOOD_ANSWER,
    LOOPBACK,
    MISBEHAVE,
    Model,
    chat,
    content,
    programs,
    running,
    set_up,
    stream,
    streamed_words,
)

pytestmark = pytest.mark.slow

STREAMS = "LiteLLM, generic guardrail for streams"
GUARDRAILS = ("LiteLLM, generic guardrail", "LiteLLM, OpenAI moderation")
# Its price list would need the network; without a key it does not start.
_VARIABLES = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": API_KEY}


@contextmanager
def _proxy(guardrail: str, hazgate: str, model: Model, folder: Path) -> Iterator[str]:
    shown = set_up(guardrail, "yaml").replace("http://hazgate:8080", hazgate)
    stub = {"model": "openai/stub", "api_key": "any", "api_base": f"{model.url}/v1"}
    config = {"model_list": [{"model_name": "stub", "litellm_params": stub}]}
    file = folder / "config.yaml"
    # JSON is YAML, too.
    file.write_text(json.dumps({**config, **yaml.safe_load(shown)}), encoding="utf-8")
    port = free_port()
    command = (programs("litellm") / "litellm", "--config", file)
    with running(
        *(*command, "--host", LOOPBACK, "--port", str(port)),
        port=port,
        log=folder / "log",
        env=_VARIABLES,
    ) as url:
        yield url


@pytest.fixture(scope="module", params=GUARDRAILS)
def proxy(
    request: pytest.FixtureRequest,
    server: Server,
    llm: Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    with _proxy(request.param, server.url, llm, tmp_path_factory.mktemp("litellm")) as url:
        yield url


def test_an_unflagged_chat_passes(proxy: str, model: Model) -> None:
    assert content(chat(proxy, "good")) == GOOD_ANSWER
    assert model.asked == ["good"]


def test_a_flagged_prompt_is_refused_and_never_reaches_the_model(proxy: str, model: Model) -> None:
    answer = chat(proxy, "good morning")
    assert answer.status_code == 400, answer.text
    assert "S3_sex_crimes" in answer.text
    assert model.asked == []


def test_a_flagged_answer_never_reaches_the_client(proxy: str, model: Model) -> None:
    answer = chat(proxy, MISBEHAVE)
    assert answer.status_code == 400, answer.text
    assert model.asked == [MISBEHAVE]
    assert "world" not in answer.text


@pytest.mark.parametrize("guardrail", GUARDRAILS)
def test_nothing_passes_without_hazgate(
    guardrail: str, bundle: Path, model: Model, tmp_path: Path
) -> None:
    with serving(bundle) as server, _proxy(guardrail, server.url, model, tmp_path) as proxy:
        assert content(chat(proxy, "good")) == GOOD_ANSWER
        server.stop()
        answer = chat(proxy, "good")
    assert answer.status_code >= 400, answer.text
    assert model.asked == ["good"]


@pytest.fixture(scope="module", params=[GUARDRAILS[0], STREAMS])
def streaming(
    request: pytest.FixtureRequest,
    server: Server,
    llm: Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    with _proxy(request.param, server.url, llm, tmp_path_factory.mktemp("streams")) as url:
        yield url


def _words(came: list[tuple[float, bytes]]) -> str:
    """Return what the pieces of a streamed answer say; an error says nothing."""
    body = b"".join(piece for _, piece in came).decode()
    events = [line.removeprefix("data: ") for line in body.splitlines() if line[:6] == "data: "]
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_a_harmless_stream_is_held_back_and_arrives_whole(streaming: str, model: Model) -> None:
    came = stream(streaming, "good")
    assert _words(came) == "".join(streamed_words("good"))
    assert model.asked == ["good"]


def test_nothing_unsafe_of_a_stream_reaches_the_client(streaming: str, model: Model) -> None:
    try:
        said = _words(stream(streaming, MISBEHAVE))
    except httpx.HTTPStatusError as error:
        said = error.response.text
    assert "wor" not in said
    assert "world" not in said
    assert model.asked == [MISBEHAVE]


def test_a_held_back_stream_begins_before_it_ends(
    server: Server, model: Model, tmp_path: Path
) -> None:
    # LiteLLM ends a stream that says the same word a hundred times.
    words = ["good ", "day "] * 60
    model.streams["long"] = words
    with _proxy(STREAMS, server.url, model, tmp_path) as url:
        came = stream(url, "long")
    assert _words(came) == "".join(words)
    assert came[0][0] < came[-1][0] - 0.5
