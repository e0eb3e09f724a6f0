"""SIGHUP takes everything over or nothing: a real server process, alone and with workers."""

import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import psutil
import pytest
import trustme
from click.testing import CliRunner
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from benchmarks.harness.ports import free_port
from benchmarks.harness.server import serving
from hazgate import Bundle, BundleError
from hazgate.cli.group import cli
from hazgate.serving.settings import ServeSettings
from hazgate.serving.source import ServeOptions, ServeSource, check_reloadable
from tests.support.damage import edit_manifest
from tests.support.spotter import write_spotter

POLICY = """schema_version = 1
name = "{name}"
mode = "strict"
[gate]
controversial = 0.3
unsafe = 0.6
[hazards]
default = {{ action = "block", threshold = 0.1 }}
"""


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_spotter(tiny_bundle, tmp_path_factory.mktemp("reload"))


def _until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if holds():
            return True
        time.sleep(0.1)
    return False


def _workers(process: int) -> set[int]:
    """Return the processes that a server's workers are, without Python's own helper."""
    return {each.pid for each in psutil.Process(process).children() if _is_worker(each)}


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.NoSuchProcess:  # It ended meanwhile; a zombie counts as ended.
        return False


def _certify(authority: trustme.CA, folder: Path) -> int:
    """Write a new certificate over the old one; return its serial number."""
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(folder / "chain.pem")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    chain = leaf.cert_chain_pems[0].bytes().decode()
    return hash(ssl.PEM_cert_to_DER_cert(chain))


def _shown(port: int) -> int:
    return hash(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port))))


def test_keys_certificate_and_limits_are_taken_over_and_bad_ones_are_not(
    bundle: Path, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    first = _certify(authority, tmp_path)
    grpc_port = free_port()
    tls = '[tls]\ncertificate_file = "chain.pem"\nkey_file = "key.pem"\n'
    head = f'grpc_port = {grpc_port}\napi_keys_file = "keys"\n'
    config, keys = tmp_path / "serve.toml", tmp_path / "keys"
    config.write_text(head + tls, encoding="utf-8")
    keys.write_text("old\n", encoding="utf-8")
    trust = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    with serving(bundle, "--config", config, ca_file=tmp_path / "ca.pem") as server:

        def status(key: str, text: str = "good") -> int:
            headers = {"authorization": f"Bearer {key}"}
            body = {"text": text}
            url = f"{server.url}/v1/check"
            return httpx.post(url, json=body, headers=headers, verify=trust).status_code

        assert (status("old", "good " * 2100), status("new")) == (200, 401)
        assert _shown(server.port) == _shown(grpc_port) == first

        second = _certify(authority, tmp_path)
        keys.write_text("new\n", encoding="utf-8")
        config.write_text(f"{head}[request]\nmax_tokens = 2000\n{tls}", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        assert _until(lambda: status("new") == 200)
        assert status("old") == 401
        assert _until(lambda: status("new", "good " * 2100) == 400, seconds=5)
        assert _shown(server.port) == _shown(grpc_port) == second
        credentials = grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes())
        with grpc.secure_channel(f"127.0.0.1:{grpc_port}", credentials) as channel:
            infer = GRPCInferenceServiceStub(channel).ModelMetadata
            metadata = protocol.ModelMetadataRequest(name="tiny")
            assert infer(metadata, metadata=(("authorization", "Bearer new"),)).name
            with pytest.raises(grpc.RpcError):
                infer(metadata, metadata=(("authorization", "Bearer old"),))

        # The number of calls is fixed, and a text is no private key: each time
        # the keys stay, too.
        for broken in (f"max_calls = 3\n{head}{tls}", f"{head}{tls}"):
            config.write_text(broken, encoding="utf-8")
            keys.write_text("third\n", encoding="utf-8")
            if not broken.startswith("max"):
                (tmp_path / "key.pem").write_text("no key", encoding="utf-8")
            server.process.send_signal(signal.SIGHUP)
            time.sleep(1)
            assert (status("new"), status("third")) == (200, 401)


def test_workers_are_replaced_all_or_none(bundle: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.format(name="first"), encoding="utf-8")
    with serving(bundle, "--policy", policy, "--workers", "2") as server:

        def names() -> set[str]:
            # A connection each, so that every worker answers some.
            answers = (httpx.get(f"{server.url}/info") for _ in range(8))
            return {answer.json()["policy"]["name"] for answer in answers}

        assert names() == {"first"}
        first = _workers(server.process.pid)
        policy.write_text(POLICY.format(name="second"), encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        assert _until(lambda: not first & _workers(server.process.pid), seconds=120)
        assert names() == {"second"}
        second = _workers(server.process.pid)
        policy.write_text("name =", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        # A worker reads the policy itself, and ends.
        assert _until(lambda: _workers(server.process.pid) > second, seconds=60)
        assert names() == {"second"}
        assert _until(lambda: _workers(server.process.pid) == second, seconds=60)
        assert names() == {"second"}


_SLOW = """
import sys, time
from pathlib import Path
import uvicorn
from hazgate.errors import BundleError
from hazgate.serving.workers import Workers

STATE = Path(sys.argv[1])

def build():
    # Longer than uvicorn's own five seconds.
    time.sleep(6)
    state = STATE.read_text()
    if state == "bad":
        raise BundleError("bad")

    async def app(scope, receive, send):
        if scope["type"] != "http":
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.startup":
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": state.encode()})

    return app

def config():
    port = int(sys.argv[2])
    return uvicorn.Config(build, factory=True, port=port, workers=2, log_level="critical")

if __name__ == "__main__":
    first = config()
    Workers(first, [first.bind_socket()], config).run()
"""


@pytest.mark.slow
def test_workers_that_start_slowly_take_over_and_bad_ones_never(tmp_path: Path) -> None:
    state, port = tmp_path / "state", free_port()
    (tmp_path / "slow.py").write_text(_SLOW, encoding="utf-8")
    state.write_text("first", encoding="utf-8")
    process = subprocess.Popen([sys.executable, tmp_path / "slow.py", state, str(port)])

    def answers(expected: str) -> bool:
        try:
            return {httpx.get(f"http://127.0.0.1:{port}").text for _ in range(4)} == {expected}
        except httpx.TransportError:
            return False

    try:
        assert _until(lambda: answers("first"), seconds=90)
        first = _workers(process.pid)
        state.write_text("second", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        assert _until(lambda: not first & _workers(process.pid), seconds=120)
        assert answers("second")
        state.write_text("bad", encoding="utf-8")
        process.send_signal(signal.SIGHUP)
        assert not _until(lambda: not answers("second"), seconds=15)
    finally:
        process.terminate()
        process.wait(60)


def test_only_the_bundle_of_the_digest_is_served(bundle: Path) -> None:
    digest = Bundle.open(bundle).digest
    source = ServeSource(bundle=bundle, digest=digest, options=ServeOptions(port=1))
    assert source.read().digest == digest
    assert source.read().settings.port == 1
    done = CliRunner().invoke(cli, ["serve", str(bundle), "--digest", "0" * 64])
    assert done.exit_code == 3
    assert digest in done.output


def test_a_bundle_that_changes_behind_its_digest_is_not_read(bundle_copy: Path) -> None:
    source = ServeSource(bundle=bundle_copy, digest=Bundle.open(bundle_copy).digest)
    edit_manifest(bundle_copy, lambda data: data.update(name="other"))
    with pytest.raises(BundleError, match="this is another bundle"):
        source.read()


def test_all_that_needs_a_new_server_is_named() -> None:
    with pytest.raises(BundleError) as caught:
        check_reloadable(ServeSettings(), ServeSettings(port=1, workers=2, api_keys_file="k"))
    for name in ("port: 8080 so far, 1 now", "workers", "api_keys_file: absent so far"):
        assert name in str(caught.value)
    check_reloadable(ServeSettings(), ServeSettings(fail_open=("litellm",)))
