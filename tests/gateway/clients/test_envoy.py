"""Envoy, set up as in SERVING.md, asks hazgate over HTTP and gRPC.

ext_authz sees requests only; ext_proc also sees the model's answers.
"""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from benchmarks.harness.ports import free_port
from benchmarks.harness.server import Server, serving
from tests.gateway.clients.kit import (
    GOOD_ANSWER,
    LOOPBACK,
    MISBEHAVE,
    ROOT,
    Model,
    chat,
    content,
    programs,
    running,
    set_up,
    sse_of,
    stream,
    streamed_words,
)

pytestmark = pytest.mark.slow

AUTHZ = ("Envoy, ext_authz over HTTP", "Envoy, ext_authz over gRPC")
PROC = "Envoy, ext_proc"
STREAMED = "Envoy, ext_proc for streams"
_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_OVER_A_MEBIBYTE = "good " * 250_000


def _filters(shown: str, **changes: object) -> list[dict[str, Any]]:
    """Return SERVING.md's HTTP filters, with some fields of hazgate's filter replaced."""
    filters: list[dict[str, Any]] = yaml.safe_load(set_up(shown, "yaml"))["http_filters"]
    for each in filters:
        each["typed_config"].update(changes)
    return filters


def _cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": LOOPBACK, "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}


def _grpc_cluster(port: int) -> dict[str, Any]:
    shown: dict[str, Any] = yaml.safe_load(set_up("Envoy, the cluster for gRPC", "yaml"))
    return {**_cluster("hazgate_grpc", port), **shown}


def _bootstrap(filters: list[dict[str, Any]], port: int, clusters: list[Any]) -> dict[str, Any]:
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"},
    }
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "model"}}]
    manager = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "chat",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, router],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "filter_chains": [{"filters": [network]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


@contextmanager
def _envoy(
    filters: list[dict[str, Any]], server: Server, grpc_port: int, model: Model, folder: Path
) -> Iterator[str]:
    port = free_port()
    clusters = [
        _cluster("model", model.server_port),
        _cluster("hazgate", urlsplit(server.url).port or 0),
        _grpc_cluster(grpc_port),
    ]
    file = folder / f"{port}.json"
    file.write_text(json.dumps(_bootstrap(filters, port, clusters)), encoding="utf-8")
    command = (programs("envoy") / "envoy", "--config-path", file, "--disable-hot-restart")
    log = folder / f"{port}.log"
    with running(*command, "--concurrency", "1", port=port, log=log) as url:
        yield url


@pytest.fixture(scope="module", params=[*AUTHZ, PROC])
def gateway(
    request: pytest.FixtureRequest,
    server: Server,
    grpc_port: int,
    llm: Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("envoy")
    with _envoy(_filters(request.param), server, grpc_port, llm, folder) as url:
        yield url


def test_an_unflagged_chat_passes(gateway: str, model: Model) -> None:
    assert content(chat(gateway, "good")) == GOOD_ANSWER
    assert model.asked == ["good"]


def test_a_flagged_prompt_is_refused_with_its_hazard_and_never_reaches_the_model(
    gateway: str, model: Model
) -> None:
    answer = chat(gateway, "good morning")
    assert answer.status_code == 403, answer.text
    assert "S3_sex_crimes" in answer.json()["error"]["message"]
    assert model.asked == []


def test_a_body_over_the_limit_is_refused_by_envoy_itself(gateway: str, model: Model) -> None:
    assert chat(gateway, _OVER_A_MEBIBYTE).status_code == 413
    assert model.asked == []


def _upgrade(gateway: str) -> int:
    """Ask for a WebSocket; return the status of the answer."""
    port = urlsplit(gateway).port
    assert port is not None
    with socket.create_connection((LOOPBACK, port), timeout=30) as connection:
        connection.sendall(
            b"GET /v1/realtime?model=stub HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        return int(connection.recv(4000).split()[1])


def test_an_upgrade_never_reaches_the_model(gateway: str, model: Model) -> None:
    assert _upgrade(gateway) == 400


def test_a_body_that_says_it_is_compressed_never_reaches_the_model(
    gateway: str, model: Model
) -> None:
    body = {"model": "stub", "messages": [{"role": "user", "content": "good"}]}
    answer = httpx.post(
        f"{gateway}/v1/chat/completions",
        content=json.dumps(body),
        headers={"content-type": "application/json", "content-encoding": "deflate"},
        timeout=30,
    )
    assert answer.status_code == 400, answer.text
    assert model.asked == []


@pytest.mark.parametrize("gateway", [PROC], indirect=True)
def test_a_flagged_answer_never_reaches_the_client(gateway: str, model: Model) -> None:
    answer = chat(gateway, MISBEHAVE)
    assert answer.status_code == 403, answer.text
    assert model.asked == [MISBEHAVE]
    assert "world" not in answer.text


@pytest.mark.parametrize(("shown", "status"), [*((name, 403) for name in AUTHZ), (PROC, 500)])
def test_nothing_passes_without_hazgate_unless_failures_are_allowed(
    shown: str, status: int, bundle: Path, model: Model, tmp_path: Path
) -> None:
    port = free_port()
    strict, lenient = _filters(shown), _filters(shown, failure_mode_allow=True)
    with (
        serving(bundle, "--grpc-port", str(port)) as server,
        _envoy(strict, server, port, model, tmp_path) as closed,
        _envoy(lenient, server, port, model, tmp_path) as opened,
    ):
        assert [content(chat(url, "good")) for url in (closed, opened)] == [GOOD_ANSWER] * 2
        server.stop()
        assert chat(closed, "good").status_code == status
        assert len(model.asked) == 2
        assert content(chat(opened, "good")) == GOOD_ANSWER


# SERVING.md's own, and Envoy's older mode, in which every piece must be answered in time.
_OLDER = {"request_body_mode": "STREAMED", "response_body_mode": "STREAMED"}
_BOTH = {
    "request_body_mode": "FULL_DUPLEX_STREAMED",
    "request_trailer_mode": "SEND",
    "response_body_mode": "FULL_DUPLEX_STREAMED",
    "response_trailer_mode": "SEND",
}


@pytest.fixture(
    scope="module",
    # In full duplex Envoy waits for an answer as long as it takes.
    params=[
        {},
        {"processing_mode": _BOTH, "message_timeout": "0.1s"},
        {"processing_mode": _OLDER},
    ],
    ids=["as shown", "full duplex", "streamed"],
)
def streaming(
    request: pytest.FixtureRequest,
    server: Server,
    grpc_port: int,
    llm: Model,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("streaming")
    filters = _filters(STREAMED, **request.param)
    with _envoy(filters, server, grpc_port, llm, folder) as url:
        yield url


def test_a_harmless_stream_arrives_byte_for_byte_and_while_it_is_written(
    streaming: str, model: Model
) -> None:
    came = stream(streaming, "good")
    assert b"".join(piece for _, piece in came) == b"".join(sse_of(streamed_words("good")))
    # Not all at once, at its end.
    assert came[0][0] < came[-1][0] - 0.2
    assert model.asked == ["good"]


def test_nothing_unsafe_of_a_stream_reaches_the_client(streaming: str, model: Model) -> None:
    body = b"".join(piece for _, piece in stream(streaming, MISBEHAVE))
    assert model.asked == [MISBEHAVE]
    events = sse_of(streamed_words(MISBEHAVE))
    # Whole events, then the end, and none from the one on that ends the word.
    n_passed = max(k for k in range(len(events)) if body.startswith(b"".join(events[:k])))
    last = body[len(b"".join(events[:n_passed])) :]
    assert b"ld " not in body
    assert n_passed <= next(k for k, event in enumerate(events) if b"ld " in event)
    assert n_passed > 1
    assert b"content_filter" in last
    assert last.count(b"data: ") == 2
    assert last.endswith(b"data: [DONE]\n\n")


def test_a_flagged_request_is_refused_in_streamed_modes_too(streaming: str, model: Model) -> None:
    answer = chat(streaming, "good morning")
    assert answer.status_code == 403, answer.text
    assert model.asked == []


def test_an_answer_that_is_no_stream_is_held_until_its_end(streaming: str, model: Model) -> None:
    assert content(chat(streaming, "good")) == GOOD_ANSWER
    answer = chat(streaming, MISBEHAVE)
    assert "world" not in answer.text
    assert "Blocked by the safety gate" in answer.text


def test_the_clients_sdk_understands_how_a_stream_was_stopped(streaming: str, model: Model) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{streaming}/v1", api_key="any", max_retries=0)
    messages = [{"role": "user", "content": MISBEHAVE}]
    *_, last = client.chat.completions.create(model="stub", messages=messages, stream=True)
    assert last.choices[0].finish_reason == "content_filter"
    assert "safety gate" in last.choices[0].delta.refusal


def test_envoy_takes_the_example_of_a_deployment() -> None:
    example = ROOT / "runtime" / "deploy" / "envoy.yaml"
    done = subprocess.run(
        [programs("envoy") / "envoy", "--mode", "validate", "--config-path", example],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    (shown,) = _filters(STREAMED)
    listener = yaml.safe_load(example.read_text(encoding="utf-8"))["static_resources"]["listeners"][
        0
    ]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["http_filters"][0] == shown
