"""The predictor as its users run it: KServe's server, Triton's client, real signals."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from open_inference.grpc import protocol
from open_inference.grpc.service import GRPCInferenceServiceStub

from benchmarks.harness.ports import free_port
from hazgate import Gate
from tests.gateway.clients.kit import programs
from tests.support.environments import environment
from tests.support.processes import run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
NAME = "gate"
TEXTS = ("good", "good morning")
MARKER = "zxqvbn"
# As its users install it; the code that runs is this checkout's.
REQUIREMENTS = (
    "kserve==0.21.0",
    "onnxruntime",
    f"{ROOT / 'runtime'}[cli,serve]",
    f"{ROOT / 'runtime' / 'scale'}[kserve]",
)
_CODE = os.pathsep.join(str(ROOT / part) for part in ("runtime", "runtime/scale", "."))
_READY_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A predictor, where it is asked, what it has written, and how it is broken."""

    process: "subprocess.Popen[bytes]"
    url: str
    grpc: str
    log: Path
    fault: Path

    @property
    def model(self) -> str:
        return f"{self.url}/v2/models/{NAME}"


@contextmanager
def predicting(
    bundle: Path, folder: Path, *, faulty: bool = False, more: str = ""
) -> Iterator[Running]:
    """`hazgate kserve`, or the same with an engine that can be broken."""
    http, rpc = free_port(), free_port()
    settings = folder / "serve.toml"
    keyed = "api_keys_file" in more
    grpc_port = "" if keyed else f"grpc_port = {rpc}\n"
    settings.write_text(
        f"port = {http}\n{grpc_port}{more}[engine]\nthreads = 1\n", encoding="utf-8"
    )
    fault, log = folder / "fault", folder / "log"
    python = environment(*REQUIREMENTS) / "python"
    script = ROOT / "tests" / "scale" / "fleet" / "serve_kserve.py"
    command: list[str | Path] = (
        [python, script, bundle, settings, NAME, fault]
        if faulty
        else [
            python,
            "-m",
            "hazgate",
            "kserve",
            bundle,
            "--settings",
            settings,
            "--model-name",
            NAME,
        ]
    )
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": _CODE},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Running(
        process=process,
        url=f"http://127.0.0.1:{http}",
        grpc=f"127.0.0.1:{rpc}",
        log=log,
        fault=fault,
    )
    try:
        # Probes bring no key.
        wait_for(running, 200)
        yield running
    finally:
        process.kill()
        process.wait(30)


def wait_for(running: Running, status: int) -> None:
    """Until the model's readiness is answered so."""
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        assert running.process.poll() is None, running.log.read_text(encoding="utf-8")[-3000:]
        try:
            if httpx.get(f"{running.model}/ready").status_code == status:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(running.log.read_text(encoding="utf-8")[-3000:])


@pytest.fixture(scope="module")
def predictor(spotter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with predicting(spotter, tmp_path_factory.mktemp("kserve")) as running:
        yield running


def tensor(*texts: object, **changes: object) -> dict[str, Any]:
    given = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return {"inputs": [{**given, **changes}]}


@pytest.mark.parametrize("over", ["http", "grpc"])
def test_tritons_client_gets_the_gates_own_verdicts(
    predictor: Running, spotter: Path, over: str
) -> None:
    address = {"http": predictor.url.removeprefix("http://"), "grpc": predictor.grpc}[over]
    script = ROOT / "tests" / "gateway" / "clients" / "ask_triton.py"
    done = run(programs("triton") / "python", script, over, "binary", address, NAME, *TEXTS)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    verdicts = Gate.open(spotter).check_many(TEXTS)
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
    types = {
        each["name"]: each["datatype"]
        for each in found["model"]["inputs"] + found["model"]["outputs"]
    }
    assert types == {"text": "BYTES", "unsafe": "FP32", "flagged": "BOOL"}
    assert found["flagged"] == {"type": "bool", "values": [False, True]}
    assert found["unsafe"]["values"] == pytest.approx([each.unsafe for each in verdicts])
    assert found["id"] == "7"
    assert "unknown_model" in found


def test_json_is_answered_in_json(predictor: Running, spotter: Path) -> None:
    answer = httpx.post(f"{predictor.model}/infer", json=tensor(*TEXTS)).json()
    outputs = {each["name"]: each["data"] for each in answer["outputs"]}
    verdicts = Gate.open(spotter).check_many(TEXTS)
    assert outputs["flagged"] == [False, True]
    assert outputs["unsafe"] == pytest.approx([each.unsafe for each in verdicts])
    only = {**tensor(*TEXTS), "outputs": [{"name": "flagged"}]}
    answer = httpx.post(f"{predictor.model}/infer", json=only).json()
    assert [each["name"] for each in answer["outputs"]] == ["flagged"]


@pytest.mark.parametrize(
    "body",
    [
        tensor(MARKER, name=MARKER),
        tensor(MARKER, datatype="FP32"),
        tensor(MARKER, shape=[2]),
        tensor(MARKER, shape=[-1]),
        tensor([MARKER], [MARKER, MARKER]),
        tensor(7),
        {"inputs": MARKER},
        {"inputs": []},
        {**tensor(MARKER), "outputs": [{"name": MARKER}]},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_400_and_repeats_nothing(
    predictor: Running, body: dict[str, Any]
) -> None:
    answer = httpx.post(f"{predictor.model}/infer", json=body)
    assert answer.status_code == 400
    assert MARKER not in answer.text
    assert set(answer.json()) == {"error"}


def test_v1_is_told_to_speak_v2(predictor: Running) -> None:
    url = f"{predictor.url}/v1/models/{NAME}:predict"
    answer = httpx.post(url, json={"instances": [MARKER]})
    assert (answer.status_code, "v2" in answer.json()["error"]) == (400, True)


def test_a_body_that_is_too_long_is_413(predictor: Running) -> None:
    answer = httpx.post(f"{predictor.model}/infer", json=tensor("good " * 500_000))
    assert answer.status_code == 413


def test_over_grpc_errors_have_grpcs_codes(predictor: Running) -> None:
    kind = protocol.ModelInferRequest.InferInputTensor
    with grpc.insecure_channel(predictor.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for name, code in {"txt": "INVALID_ARGUMENT", "text": "OK"}.items():
            asked = protocol.ModelInferRequest(
                model_name=NAME,
                inputs=[kind(name=name, datatype="BYTES", shape=[1])],
                raw_input_contents=[b"\x04\x00\x00\x00good"],
            )
            try:
                stub.ModelInfer(asked)
                found = "OK"
            except grpc.RpcError as error:
                found = error.code().name
            assert found == code


def test_nobody_unloads_the_model(predictor: Running) -> None:
    url = predictor.model.replace("/v2/", "/v2/repository/")
    for verb in ("unload", "load"):
        assert httpx.post(f"{url}/{verb}").status_code == 400
    with grpc.insecure_channel(predictor.grpc) as channel:
        # KServe's own method: the message has the name as its first field.
        unload: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/inference.GRPCInferenceService/RepositoryModelUnload"
        )
        with pytest.raises(grpc.RpcError) as caught:
            unload(b"\n%c" % len(NAME) + NAME.encode())
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert httpx.get(f"{predictor.model}/ready").status_code == 200


def test_the_figures_of_requests_stand_beside_kserves_own(predictor: Running) -> None:
    httpx.post(f"{predictor.model}/infer", json=tensor("good"))
    figures = httpx.get(f"{predictor.url}/metrics").text
    assert 'hazgate_requests_total{outcome="ok",route="kserve"}' in figures
    assert "request_predict_seconds" in figures


def test_nothing_of_a_text_is_logged_even_where_it_is_no_text(predictor: Running) -> None:
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "text",
                    "datatype": "BYTES",
                    "shape": [1],
                    "parameters": {"binary_data_size": 11},
                }
            ]
        }
    ).encode()
    raw = b"\x07\x00\x00\x00" + MARKER.encode() + b"\xff"
    answer = httpx.post(
        f"{predictor.model}/infer",
        content=head + raw,
        headers={"inference-header-content-length": str(len(head))},
    )
    assert answer.status_code >= 400
    httpx.post(f"{predictor.model}/infer", json=tensor(f"{MARKER} morning"))
    log = predictor.log.read_text(encoding="utf-8")
    assert "POST" in log
    assert MARKER not in log


def test_readiness_is_the_engines_own(spotter: Path, tmp_path: Path) -> None:
    with predicting(spotter, tmp_path, faulty=True) as running:
        running.fault.write_text(str(running.process.pid), encoding="utf-8")
        assert httpx.post(f"{running.model}/infer", json=tensor("good")).status_code == 500
        assert httpx.get(f"{running.model}/ready").status_code == 503
        # KServe's server lets nothing through to a model that is not ready.
        assert httpx.post(f"{running.model}/infer", json=tensor("good")).status_code == 503
        running.fault.unlink()
        # Probes try a failing engine once a second.
        wait_for(running, 200)
        assert httpx.post(f"{running.model}/infer", json=tensor("good")).status_code == 200


def test_who_brings_no_key_is_refused_where_keys_are_asked_for(
    spotter: Path, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("secret\n", encoding="utf-8")
    with predicting(spotter, tmp_path, more='api_keys_file = "keys"\n') as running:
        url = f"{running.model}/infer"
        assert httpx.post(url, json=tensor("good")).status_code == 401
        headers = {"authorization": "Bearer secret"}
        assert httpx.post(url, json=tensor("good"), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (
            'host = "::"\nworkers = 2\nfail_open = ["litellm"]\ntraces = true\n',
            ("host", "workers", "fail_open", "traces"),
        ),
        ('api_keys_file = "keys"\ngrpc_port = 1\n', ("api_keys_file",)),
    ],
)
def test_settings_that_kserves_server_does_not_have_are_refused_at_once(
    spotter: Path, tmp_path: Path, settings: str, named: tuple[str, ...]
) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(settings, encoding="utf-8")
    python = environment(*REQUIREMENTS) / "python"
    done = run(
        *(python, "-m", "hazgate", "kserve", spotter, "--settings", file),
        env={"PYTHONPATH": _CODE},
    )
    assert done.returncode == 3
    for name in named:
        assert f"$.{name}" in done.stderr


def test_a_predictor_that_is_told_to_end_answers_what_it_has_taken_and_exits_with_0(
    spotter: Path, tmp_path: Path
) -> None:
    with predicting(spotter, tmp_path) as running:
        statuses: list[int | str] = []

        def ask(place: int) -> None:
            with httpx.Client(timeout=30) as client:
                for i in range(10_000):
                    try:
                        body = tensor("good " * 20 + f"{place} {i}")
                        statuses.append(
                            client.post(f"{running.model}/infer", json=body).status_code
                        )
                    except httpx.ConnectError:
                        return
                    except httpx.TransportError as error:
                        statuses.append(type(error).__name__)
                        return

        threads = [threading.Thread(target=ask, args=[place]) for place in range(4)]
        for thread in threads:
            thread.start()
        while len(statuses) < 50:
            time.sleep(0.01)
        running.process.terminate()
        code = running.process.wait(60)
        for thread in threads:
            thread.join(60)
    assert code == 0
    # A connection that was kept open and is closed between two requests was asked nothing.
    assert set(statuses) <= {200, "RemoteProtocolError", "ReadError"}
    assert statuses.count(200) >= 50
