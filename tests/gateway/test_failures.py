"""No failure is a pass; probes tell a failing engine from a failing text."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from starlette.testclient import TestClient

from hazgate import Gate, InferenceError
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import EngineTable, RequestTable, ServeSettings
from tests.support.served import LITELLM, breaking, served
from tests.support.sessions import held_gate, watched_gate


def test_no_failure_is_a_pass_and_readiness_is_red_until_the_engine_works(spotting: Gate) -> None:
    with breaking(spotting, ServeSettings()) as (client, engine):
        assert client.get("/health/ready").status_code == 200
        engine.broken = True
        bodies = {
            "/v1/check": {"text": "good"},
            "/v1/moderations": {"input": "good"},
            "/classify": {"inputs": "good"},
            LITELLM: {"texts": ["good"]},
            "/request": {"body": {"messages": [{"role": "user", "content": "good"}]}},
            "/ext_authz/x": {"prompt": "good"},
        }
        for path, body in bodies.items():
            assert client.post(path, json=body).status_code == 500, path
        assert client.post("/predict", json={"inputs": "good"}).status_code == 424
        _await_status(client, "/health/ready", 503)
        assert client.get("/health/ready").json()["failing"] is True
        assert client.get("/health/live").status_code == 200
        # No load balancer sends a request to a server that is not ready: it must find out itself.
        engine.broken = False
        _await_status(client, "/health/ready", 200)
        assert client.get("/v2/health/ready").status_code == 200


def _await_status(client: TestClient, path: str, status: int) -> None:
    until = time.monotonic() + 20
    while client.get(path).status_code != status:
        assert time.monotonic() < until, f"{path} never became {status}"
        time.sleep(0.05)


def test_a_text_that_fails_alone_is_no_engine_that_fails(spotting: Gate) -> None:
    (poison,) = spotting.level1.tokenizer.encode(["world"])

    def fail(input_ids: np.ndarray) -> None:
        if (input_ids == poison.windows[0].input_ids[1]).any():
            raise InferenceError("poisoned")

    with served(watched_gate(spotting, fail)) as client:
        for _ in range(3):
            assert client.post("/v1/check", json={"text": "world"}).status_code == 500
            assert client.get("/health/ready").status_code == 200


def test_a_failing_engine_is_not_tried_by_each_probe(spotting: Gate) -> None:
    runs: list[int] = []
    broken = threading.Event()

    def fail(input_ids: np.ndarray) -> None:
        if broken.is_set():
            runs.append(len(input_ids))
            raise InferenceError("the session is gone")

    with served(watched_gate(spotting, fail)) as client:
        broken.set()
        assert client.post("/v1/check", json={"text": "good"}).status_code == 500
        _await_status(client, "/health/ready", 503)
        before, start_s = len(runs), time.monotonic()
        for _ in range(200):
            assert client.get("/health/ready").status_code == 503
        assert len(runs) - before <= 2 + time.monotonic() - start_s


def test_a_dead_engine_is_red_for_liveness_and_readiness(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    settings = ServeSettings(engine=EngineTable(max_run_s=0.2))
    with served(held, settings) as client:
        assert client.get("/health/live").status_code == 200
        session.running.clear()
        session.go.clear()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.post, "/v1/check", json={"text": "good"})
            assert session.running.wait(20)
            _await_status(client, "/health/live", 503)
            assert client.get("/v2/health/live").status_code == 503
            assert client.get("/health/ready").status_code == 503
            session.go.set()
            assert answer.result(20).status_code == 200
        _await_status(client, "/health/live", 200)


def test_a_route_that_fails_open_says_so_and_is_counted(spotting: Gate) -> None:
    settings = ServeSettings(fail_open=("litellm",))
    with breaking(spotting, settings) as (client, engine):
        engine.broken = True
        answer = client.post(LITELLM, json={"texts": ["morning"]})
        assert answer.json()["action"] == "NONE"
        assert answer.headers["x-hazgate-failed-open"] == "InferenceError"
        assert client.post("/ext_authz/x", content=b"good").status_code == 500
        assert 'hazgate_failed_open_total{route="litellm"} 1.0' in client.get("/metrics").text
        # A request that cannot be read is refused, even on a route that fails open.
        assert client.post(LITELLM, json={"texts": []}).status_code == 400


def test_a_missed_deadline_is_504(spotting: Gate) -> None:
    settings = ServeSettings(request=RequestTable(timeout_s=1e-9))
    app = create_app(spotting, settings)
    client = TestClient(app, raise_server_exceptions=False)
    assert client.post("/v1/check", json={"text": "good"}).status_code == 504
