"""Envoy, set up as in SERVING.md, asks hazgate over HTTP and gRPC.

ext_authz sees requests only; ext_proc also sees the model's answers.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from benchmarks.harness.server import Server, serving
from tests.gateway.clients.kit import (
    GOOD_ANSWER,
    LOOPBACK,
    MISBEHAVE,
    Model,
    chat,
    content,
    programs,
    running,
    set_up,
)
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

AUTHZ = ("Envoy, ext_authz over HTTP", "Envoy, ext_authz over gRPC")
PROC = "Envoy, ext_proc"
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
