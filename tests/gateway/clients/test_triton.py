"""Triton's client asks hazgate over HTTP, with binary and JSON tensors, and over gRPC."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.harness.server import Server
from hazgate import Gate
from tests.gateway.clients.kit import LOOPBACK, programs
from tests.support.processes import run

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).with_name("ask_triton.py")
TEXTS = ("good", "good morning")


@pytest.fixture(scope="module")
def name(server: Server) -> str:
    return str(httpx.get(f"{server.url}/info").json()["bundle"])


@pytest.fixture(scope="module", params=[("http", "binary"), ("http", "json"), ("grpc", "binary")])
def found(
    request: pytest.FixtureRequest, server: Server, grpc_port: int, name: str
) -> dict[str, Any]:
    protocol, form = request.param
    http = server.url.removeprefix("http://")
    address = {"http": http, "grpc": f"{LOOPBACK}:{grpc_port}"}[protocol]
    done = run(programs("triton") / "python", _SCRIPT, protocol, form, address, name, *TEXTS)
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_server_and_model_are_ready(found: dict[str, Any]) -> None:
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)


def test_the_models_tensors_are_described(found: dict[str, Any], name: str) -> None:
    described = found["model"]
    assert found["server"]["name"] == "hazgate"
    assert described["name"] == name
    types = {
        tensor["name"]: tensor["datatype"] for tensor in described["inputs"] + described["outputs"]
    }
    assert types == {"text": "BYTES", "unsafe": "FP32", "flagged": "BOOL"}


def test_texts_come_back_as_probabilities_and_decisions(
    found: dict[str, Any], bundle: Path
) -> None:
    verdicts = Gate.open(bundle).check_many(TEXTS)
    assert found["flagged"] == {"type": "bool", "values": [False, True]}
    assert found["unsafe"]["type"] == "float32"
    assert found["unsafe"]["values"] == pytest.approx([each.unsafe for each in verdicts])
    assert found["id"] == "7"


def test_an_unknown_model_is_an_error_that_names_the_known_one(
    found: dict[str, Any], name: str
) -> None:
    assert name in found["unknown_model"]


def test_every_route_that_is_not_there_has_an_error_that_the_client_can_show(
    found: dict[str, Any],
) -> None:
    assert set(found["errors"]) <= {"[404] Not Found"}
    assert len(found["errors"]) in (0, 5)
