"""The server as users run it: a process, real clients, real signals."""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import openai
import psutil
import pytest
import trustme
from click.testing import CliRunner
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from benchmarks.harness.ports import free_port
from benchmarks.harness.server import Server, serving
from hazgate import BundleError, Gate
from hazgate.cli.group import cli
from hazgate.serving.settings import ServeSettings
from tests.support.spotter import MORNING_HAZARD, write_spotter
from tests.support.tiny import HAZARDS


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spotter(tiny_bundle, tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[Server]:
    with serving(bundle) as running:
        yield running


def test_openais_client_reads_moderations(server: Server, bundle: Path) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
    answer = client.moderations.create(
        model="omni-moderation-latest", input=["good", "good morning"]
    )
    calm, alarm = answer.results
    assert (calm.flagged, alarm.flagged) == (False, True)
    extra = alarm.category_scores.model_extra or {}
    verdict = Gate.open(bundle).check("good morning")
    assert verdict.hazards is not None
    assert extra[HAZARDS[MORNING_HAZARD]] == verdict.hazards[HAZARDS[MORNING_HAZARD]]
    client.close()


def test_a_server_that_is_told_to_end_answers_its_requests_and_exits_with_0(bundle: Path) -> None:
    with serving(bundle) as server, httpx.Client(base_url=server.url) as client:
        statuses: list[int] = []
        texts = ["good " * 2000 + f"{i}" for i in range(8)]

        def ask(text: str) -> None:
            statuses.append(client.post("/v1/check", json={"text": text}).status_code)

        threads = [threading.Thread(target=ask, args=[text]) for text in texts]
        for thread in threads:
            thread.start()
        # The signal must come while requests are being answered.
        while 'hazgate_requests_total{outcome="ok"' not in client.get("/metrics").text:
            pass
        code = server.stop()
        for thread in threads:
            thread.join(30)
    assert code == 0
    # A connection that was no longer accepted has no status; all accepted ones have an answer.
    assert 200 in statuses
    assert set(statuses) <= {200, 503}


def test_a_hundred_megabytes_are_refused_without_being_read(server: Server) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100000000\r\n\r\n"
        )
        answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_caller_that_hangs_up_does_not_disturb_others(server: Server) -> None:
    for i in range(5):
        body = json.dumps({"text": f"{i} " + "good " * 1000}).encode()
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(
                b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
    assert httpx.post(f"{server.url}/v1/check", json={"text": "morning"}).json()["flagged"]


def test_the_playground_loads_nothing_from_elsewhere(server: Server) -> None:
    answer = httpx.get(server.url)
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "http://" not in answer.text
    assert "https://" not in answer.text


def test_settings_come_from_a_file_with_paths_relative_to_it(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret\n", encoding="utf-8")
    (tmp_path / "policy.toml").write_text(
        'schema_version = 1\nname = "careful"\nmode = "strict"\n'
        "[gate]\ncontroversial = 0.3\nunsafe = 0.6\n"
        '[hazards]\ndefault = { action = "block", threshold = 0.1 }\n',
        encoding="utf-8",
    )
    (tmp_path / "serve.toml").write_text(
        'api_keys_file = "keys"\nfail_open = ["litellm"]\n'
        '[engine]\nvariant = "fp32"\n[policy]\nfile = "policy.toml"\n',
        encoding="utf-8",
    )
    with serving(bundle, "--config", tmp_path / "serve.toml") as server:
        assert httpx.get(f"{server.url}/info").status_code == 401
        headers = {"authorization": "Bearer secret"}
        info = httpx.get(f"{server.url}/info", headers=headers).json()
    assert info["variant"] == "fp32"
    assert info["policy"]["name"] == "careful"
    assert info["fail_open"] == ["litellm"]


def test_a_policy_is_reloaded_without_a_dropped_request_and_a_broken_one_is_ignored(
    bundle: Path, tmp_path: Path
) -> None:
    policy = (
        'schema_version = 1\nname = "{name}"\nmode = "strict"\n'
        "[gate]\ncontroversial = 0.3\nunsafe = 0.6\n"
        '[hazards]\ndefault = {{ action = "block", threshold = 0.1 }}\n'
    )
    file = tmp_path / "policy.toml"
    file.write_text(policy.format(name="first"), encoding="utf-8")
    with serving(bundle, "--policy", file) as server, httpx.Client(base_url=server.url) as client:
        statuses = []

        def name_after_reload(expected: str) -> str:
            server.process.send_signal(signal.SIGHUP)
            until = time.monotonic() + 20
            while time.monotonic() < until:
                statuses.append(client.post("/v1/check", json={"text": "morning"}).status_code)
                name = client.get("/info").json()["policy"]["name"]
                if name == expected:
                    break
            return str(name)

        file.write_text(policy.format(name="second"), encoding="utf-8")
        assert name_after_reload("second") == "second"
        file.write_text("name =", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert client.get("/info").json()["policy"]["name"] == "second"
        file.write_text(policy.format(name="third"), encoding="utf-8")
        assert name_after_reload("third") == "third"
    assert set(statuses) == {200}


def test_all_problems_of_a_settings_file_are_listed_at_once(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(
        'fail_open = ["moderations"]\nunknown = 1\n[queue]\nmax_batch_tokens = 0\n',
        encoding="utf-8",
    )
    with pytest.raises(BundleError) as caught:
        ServeSettings.load(file)
    for name in ("max_batch_tokens", "fail_open", "unknown"):
        assert name in str(caught.value)
    file.write_text("port = 99999\n[request]\ntimeout_s = nan\n", encoding="utf-8")
    with pytest.raises(BundleError) as caught:
        ServeSettings.load(file)
    for name in ("port", "timeout_s"):
        assert name in str(caught.value)


def test_help_has_an_example() -> None:
    done = CliRunner().invoke(cli, ["serve", "--help"])
    assert done.exit_code == 0
    assert "hazgate serve build/mini" in done.output


def test_a_bundle_that_cannot_be_served_exits_with_3(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["serve", str(tmp_path)])
    assert done.exit_code == 3


def test_certificates_are_for_http_and_grpc_alike(bundle: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "chain.pem")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    config = tmp_path / "serve.toml"
    port = free_port()
    config.write_text(
        f'grpc_port = {port}\n[tls]\ncertificate_file = "chain.pem"\nkey_file = "key.pem"\n',
        encoding="utf-8",
    )
    ca_file = tmp_path / "ca.pem"
    with serving(bundle, "--config", config, ca_file=ca_file) as server:
        trust = ssl.create_default_context(cafile=ca_file)
        body = {"text": "morning"}
        assert httpx.post(f"{server.url}/v1/check", json=body, verify=trust).json()["flagged"]
        credentials = grpc.ssl_channel_credentials(ca_file.read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            stub = GRPCInferenceServiceStub(channel)
            assert stub.ServerReady(protocol.ServerReadyRequest()).ready


def test_a_deleted_bundle_is_still_served_and_not_reloaded(bundle: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(bundle, tmp_path / "own"))
    with serving(own) as server, httpx.Client(base_url=server.url) as client:
        shutil.rmtree(own)
        assert client.post("/v1/check", json={"text": "good morning"}).json()["flagged"]
        server.process.send_signal(signal.SIGHUP)
        for i in range(20):
            answer = client.post("/v1/check", json={"text": f"morning {i}"})
            assert (answer.status_code, answer.json()["flagged"]) == (200, True)


def test_idle_connections_and_endless_headers_delay_nobody(
    server: Server,
) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            idle = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
            idle.sendall(b"POST /v1/check HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        flood = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
        with contextlib.suppress(ConnectionError):
            flood.sendall(b"GET /info HTTP/1.1\r\nHost: x\r\n")
            for i in range(20_000):
                flood.sendall(b"X-%d: %s\r\n" % (i, b"a" * 100))
        with contextlib.suppress(ConnectionError):
            answer = flood.recv(1000)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert httpx.post(f"{server.url}/v1/check", json={"text": "morning"}).json()["flagged"]


def test_a_worker_that_is_killed_is_replaced_while_the_other_answers(bundle: Path) -> None:
    with serving(bundle, "--workers", "2") as server:
        workers = _workers(server, 2)
        os.kill(workers[0].pid, signal.SIGKILL)
        answered = 0
        until = time.monotonic() + 30
        while time.monotonic() < until and set(_workers(server, 1)) <= set(workers):
            # A new connection each time: only those that the dead worker had accepted fail.
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.post(f"{server.url}/v1/check", json={"text": "morning"})
                assert answer.json()["flagged"]
                answered += 1
        assert answered
        assert len(_workers(server, 2)) == 2
        figures = httpx.get(f"{server.url}/metrics").text
        assert server.stop() == 0
    # The dead worker's counts are kept and added to the others.
    (line,) = (x for x in figures.splitlines() if x.startswith("hazgate_requests_total{"))
    assert float(line.rpartition(" ")[2]) >= answered


def test_a_dead_worker_is_replaced_while_another_hangs(bundle: Path) -> None:
    with serving(bundle, "--workers", "2") as server:
        workers = _workers(server, 2)
        hanging, dead = workers
        hanging.suspend()
        try:
            # Long enough for the supervisor to ask the one that hangs.
            time.sleep(2)
            dead.kill()
            _until_replaced(server, dead)
            # It dies while it owes an answer.
            hanging.kill()
            _until_replaced(server, hanging)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                hanging.resume()
        assert server.stop() == 0


def _until_replaced(server: Server, worker: psutil.Process) -> None:
    until = time.monotonic() + 20
    while len(found := set(_workers(server, 1)) - {worker}) < 2:
        assert time.monotonic() < until, f"{found} after 20 s: no new worker"
        time.sleep(0.1)


def test_workers_share_the_weights_that_they_map(tiny_bundle: Path) -> None:
    with serving(tiny_bundle, "--workers", "2") as server:
        workers = _workers(server, 2)
        until = time.monotonic() + 30
        # The server is ready as soon as its first worker is.
        while not (first := _maps(workers[0], tiny_bundle)) or first != _maps(
            workers[1], tiny_bundle
        ):
            assert time.monotonic() < until, "the workers map different files of the bundle"
            time.sleep(0.1)


def _maps(process: psutil.Process, bundle: Path) -> set[str]:
    """Return the files of the bundle that a process has mapped."""
    return {m.path for m in process.memory_maps() if m.path.startswith(str(bundle))}


def _workers(server: Server, at_least: int) -> list[psutil.Process]:
    """Return the worker processes, once there are at least so many."""
    parent = psutil.Process(server.process.pid)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = [child for child in parent.children() if _is_worker(child)]
        if len(found) >= at_least:
            break
        time.sleep(0.1)
    return found


def _is_worker(process: psutil.Process) -> bool:
    # Other children are multiprocessing's resource tracker and workers that have just died.
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return False
