"""The repository in a real Triton server, asked by Triton's own client over HTTP and gRPC.

The server of nvidia-pytriton's wheel has the Python backend and no other: where the ONNX Runtime
backend is asked, a model of the Python backend stands in for each level.
"""

import base64
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from hazgate import Gate, Verdict
from hazgate.engine.options import EngineOptions
from hazgate_scale.triton.messages import messages
from hazgate_scale.triton.options import RepositoryOptions
from hazgate_scale.triton.repository import write_repository
from tests.support.damage import flip_byte
from tests.support.processes import run
from tests.support.triton_server import Server, launched, server_environment, serving, shown

pytestmark = pytest.mark.slow

STANDIN = Path(__file__).with_name("level_standin.py")
HARMFUL = "How to hack into someone's email account"
SECRET = "quetzalcoatlus"
TEXTS = (
    HARMFUL,
    "What is the capital of France?",
    " ",
    "naïve 日本語 🙂 \u202e right to left, and a NUL: \x00",
    f"{'Tell me about the weather of the last week. ' * 60}{HARMFUL}",
    "[CLS] how do I reset my password? [SEP]",
)
# What the server's own Python says of texts, together and one by one.
CHECK = """
import json, sys
from hazgate import EngineOptions, Gate
gate = Gate.open(sys.argv[1], engine=EngineOptions(variant="fp32", threads=1))
texts = json.load(sys.stdin)
together, alone = gate.check_many(texts), map(gate.check, texts)
print(json.dumps([[v.to_dict() for v in verdicts] for verdicts in (together, alone)]))
"""
# Long enough for requests of one moment to meet, whatever else the machine does.
DELAY_US = 100_000
COUNTED_S = 30


def _call(*texts: str | bytes, **more: object) -> dict[str, Any]:
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return {"texts": [base64.b64encode(text).decode() for text in raw], **more}


def _verdicts(answer: dict[str, Any]) -> list[Any]:
    return [json.loads(text) for text in answer["verdict"]["values"]]


def _check_same(found: dict[str, Any], verdict: Verdict) -> None:
    """Compares a verdict that came with one of this process, whose NumPy is another."""
    told = verdict.to_dict()
    figures = dict.fromkeys(("unsafe", "scores", "hazards"), 0)
    assert {**found, **figures} == {**told, **figures}
    assert found["unsafe"] == pytest.approx(told["unsafe"], abs=1e-5)
    assert found["scores"] == pytest.approx(told["scores"], abs=1e-5)
    assert found["hazards"] == (told["hazards"] and pytest.approx(told["hazards"], abs=1e-5))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return server_environment(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def repository(mini_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("in-process") / "models"
    # Two processes, which share one queue.
    options = RepositoryOptions(variant="fp32", threads=1, instances=2, max_queue_delay_us=DELAY_US)
    write_repository(mini_bundle, target, options)
    return target


@pytest.fixture(scope="module")
def server(
    repository: Path, programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(repository, programs, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def gate(mini_bundle: Path) -> Gate:
    return Gate.open(mini_bundle, engine=EngineOptions(variant="fp32", threads=1))


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_answers_are_those_of_a_gate_in_that_environment_to_the_last_bit(
    server: Server, gate: Gate, protocol: str
) -> None:
    bundle, texts = gate.bundle.root, json.dumps(TEXTS).encode()
    done = run(server.python, "-c", CHECK, bundle, stdin=texts)
    assert done.returncode == 0, done.stderr
    expected, one_by_one = json.loads(done.stdout)
    together, *alone = server.ask(protocol, _call(*TEXTS), *map(_call, TEXTS))
    assert _verdicts(together) == expected
    assert together["unsafe"]["type"] == "float32"
    assert together["unsafe"]["shape"] == [len(TEXTS), 1]
    assert together["unsafe"]["values"] == pytest.approx([v["unsafe"] for v in expected], abs=1e-7)
    assert together["flagged"]["type"] == "bool"
    assert together["flagged"]["values"] == [v["flagged"] for v in expected]
    assert {True, False} == set(together["flagged"]["values"])
    assert [_verdicts(answer) for answer in alone] == [[verdict] for verdict in one_by_one]
    # Another NumPy may round otherwise, and decides the same.
    for found, verdict in zip(expected, gate.check_many(TEXTS), strict=True):
        _check_same(found, verdict)


def test_the_server_describes_the_tensors_that_hazgate_serve_has_and_the_verdict(
    server: Server, protocol: str
) -> None:
    (described,) = server.ask(protocol, {"metadata": "hazgate"})
    tensors = described["inputs"] + described["outputs"]
    assert {tensor["name"]: tensor["datatype"] for tensor in tensors} == {
        "text": "BYTES",
        "unsafe": "FP32",
        "flagged": "BOOL",
        "verdict": "BYTES",
    }


def test_requests_of_one_moment_share_executions_and_each_gets_its_own_answer(
    server: Server, gate: Gate, protocol: str
) -> None:
    texts = [f"{text} {i}" for i in range(5) for text in TEXTS]
    calls = [_call(text) for text in texts]
    before = _counts(server, protocol)
    (answers,) = server.ask(protocol, {"at_once": calls})
    for answer, verdict in zip(answers, gate.check_many(texts), strict=True):
        (found,) = _verdicts(answer)
        _check_same(found, verdict)
    # Triton counts an execution after its answers are sent.
    until = time.monotonic() + COUNTED_S
    while (after := _counts(server, protocol)).inferences < before.inferences + len(texts):
        assert time.monotonic() < until
    assert after.executions - before.executions < len(texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Counts of a server: texts, and executions of the model."""

    inferences: int
    executions: int


def _counts(server: Server, protocol: str) -> Counts:
    (found,) = server.ask(protocol, {"statistics": "hazgate"})
    (model,) = found["model_stats"]
    # gRPC's JSON spells numbers of 64 bits as strings, and leaves zeros out.
    inferences, executions = (
        int(model.get(name, 0)) for name in ("inference_count", "execution_count")
    )
    return Counts(inferences=inferences, executions=executions)


def test_a_request_has_only_what_it_wants_and_asks_for_all_levels_by_a_parameter(
    server: Server, gate: Gate, protocol: str
) -> None:
    wanted, every = server.ask(
        protocol,
        _call(TEXTS[1], outputs=["flagged"]),
        _call(TEXTS[1], parameters={"all_levels": True}),
    )
    assert list(wanted) == ["flagged"]
    (found,) = _verdicts(every)
    _check_same(found, gate.check(TEXTS[1], all_levels=True))
    assert found["hazards"] is not None


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an empty text": (_call(SECRET, ""), "1 of 2 elements of text are empty"),
    "not UTF-8": (_call(SECRET.encode() + b"\xff\xfe"), "a text is not UTF-8"),
    "too long": (_call(f"{SECRET} " * 100_000), "1500000 bytes, at most 1048576 are taken"),
    "a tenant of no policy": (_call(SECRET, parameters={"tenant": "x"}), "without a policy"),
    "an unknown parameter": (_call(SECRET, parameters={SECRET: 1}), "1 parameters are not among"),
    "a parameter of another type": (
        _call(SECRET, parameters={"all_levels": "yes"}),
        "all_levels (bool), tenant (str)",
    ),
    "too many texts": (_call(*[SECRET] * 33), "batch-size must be <= 32"),
    "another shape": (_call(SECRET, shape=[1]), "unexpected shape for input 'text'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_the_callers_error_without_the_text(
    server: Server, protocol: str, name: str
) -> None:
    call, message = WRONG[name]
    refused, after = server.ask(protocol, call, _call(TEXTS[1]))
    assert message in refused["error"]
    assert refused["status"] == {"http": "400", "grpc": "StatusCode.INVALID_ARGUMENT"}[protocol]
    assert SECRET not in refused["error"]
    assert after["flagged"]["values"] == [False]
    assert SECRET not in server.log.read_text(encoding="utf-8", errors="replace")


def test_what_is_wrong_with_one_request_is_not_its_neighbours(
    server: Server, protocol: str
) -> None:
    """Merged into one execution, for they come within the batcher's delay."""
    calls = [_call(HARMFUL), _call(b"\xff"), _call(TEXTS[1])]
    ((first, refused, last),) = server.ask(protocol, {"at_once": calls})
    assert "not UTF-8" in refused["error"]
    assert (first["flagged"]["values"], last["flagged"]["values"]) == ([True], [False])


def test_the_page_asks_as_it_shows(server: Server) -> None:
    script = shown("python", "as_numpy").replace("8000", str(server.ports["http"]))
    done = run(server.python, "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "S2_nonviolent_crimes\n"


def test_no_text_is_in_the_servers_log(server: Server) -> None:
    server.ask("http", _call(f"{SECRET} {HARMFUL}"))
    log = server.log.read_text(encoding="utf-8", errors="replace")
    assert "successfully loaded 'hazgate'" in log
    assert not [word for word in (SECRET, "hack into", "capital of France") if word in log]


@pytest.mark.parametrize("what", ["a byte of a weight", "the whole bundle"])
def test_a_bundle_that_is_not_the_exported_one_is_not_served(
    what: str, mini_bundle: Path, tiny_bundle: Path, programs: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    write_repository(mini_bundle, repository, RepositoryOptions(variant="fp32"))
    bundle = repository / "hazgate" / "1" / "bundle"
    if what == "a byte of a weight":
        flip_byte(bundle / "weights" / "level2-fp32.bin")
        reason = "SHA-256 differs"
    else:
        shutil.rmtree(bundle)
        shutil.copytree(tiny_bundle, bundle)
        reason = "expected the bundle with digest"
    with launched(repository, programs, tmp_path) as (process, server):
        assert process.wait(120) != 0
    assert reason in server.log.read_text(encoding="utf-8", errors="replace")


def test_a_provider_that_the_server_does_not_have_is_named_when_the_model_is_loaded(
    tiny_bundle: Path, programs: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    write_repository(tiny_bundle, repository, RepositoryOptions(provider="migraphx"))
    with launched(repository, programs, tmp_path) as (process, server):
        assert process.wait(120) != 0
    log = server.log.read_text(encoding="utf-8", errors="replace")
    assert "ProviderError" in log
    assert "MIGraphXExecutionProvider" in log


def test_an_error_that_is_not_ours_is_told_by_its_type_alone(
    tiny_bundle: Path, programs: Path, tmp_path: Path
) -> None:
    """A fault put into the model, whose words hold the text."""
    repository = tmp_path / "repository"
    write_repository(tiny_bundle, repository, RepositoryOptions(variant="fp32"))
    file = repository / "hazgate" / "1" / "model.py"
    source = file.read_text(encoding="utf-8")
    spoilt = source.replace("gate.answer(questions)", "int(questions[0].text)")
    assert spoilt != source
    # Without its sample, which would fail before the model is ready.
    config = repository / "hazgate" / "config.pbtxt"
    config.write_text(config.read_text(encoding="utf-8").partition("model_warmup")[0])
    config.write_text(config.read_text(encoding="utf-8") + 'backend: "python"\n')
    file.write_text(spoilt, encoding="utf-8")
    with serving(repository, programs, tmp_path) as server:
        (answer,) = server.ask("grpc", _call(SECRET))
        log = server.log.read_text(encoding="utf-8", errors="replace")
    assert answer == {
        "error": "the engine failed: ValueError",
        "status": "StatusCode.INTERNAL",
    }
    assert "the engine failed: ValueError" in log
    assert SECRET not in log


def _with_standins(repository: Path) -> list[str]:
    """Puts the Python backend in the place of ONNX Runtime's; gives the names of all models."""
    names = json.loads((repository / "hazgate.json").read_text(encoding="utf-8"))["models"]
    for name in names:
        file = repository / name / "config.pbtxt"
        config = text_format.Parse(file.read_text(encoding="utf-8"), messages().ModelConfig())
        if config.backend == "onnxruntime":
            config.backend, config.default_model_filename = "python", "model.py"
            config.instance_group[0].kind = messages().ModelInstanceGroup.KIND_CPU
            file.write_text(text_format.MessageToString(config), encoding="utf-8")
            shutil.copy(STANDIN, repository / name / "1" / "model.py")
    return list(names)


def test_the_backends_models_give_the_gates_answers_and_a_lost_one_is_an_error_never_safe(
    mini_bundle: Path, gate: Gate, programs: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    # Fewer rows than windows that the planner puts into a run.
    options = RepositoryOptions(variant="fp32", engine="backend", max_batch_size=6)
    write_repository(mini_bundle, repository, options)
    with serving(repository, programs, tmp_path, _with_standins(repository)) as server:
        (answer,) = server.ask("http", _call(*TEXTS))
        expected = gate.check_many(TEXTS)
        for found, verdict in zip(_verdicts(answer), expected, strict=True):
            _check_same(found, verdict)
        _, harmless, harmful = server.ask(
            "grpc", {"unload": "level2"}, _call(TEXTS[1]), _call(f"{HARMFUL} {SECRET}")
        )
        assert harmless["flagged"]["values"] == [False]
        assert "model level2 failed on shape" in harmful["error"]
        assert harmful["status"] == "StatusCode.INTERNAL"
        log = server.log.read_text(encoding="utf-8", errors="replace")
    assert SECRET not in log + harmful["error"]


def test_models_of_fixed_shapes_are_asked_in_their_shapes(
    tiny_bundle: Path, programs: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    options = RepositoryOptions(
        provider="migraphx", engine="backend", buckets=(8, 24), max_batch_size=4
    )
    write_repository(tiny_bundle, repository, options)
    names = _with_standins(repository)
    assert {"level1_8", "level1_24", "level2_8", "level2_24"} < set(names)
    texts = [TEXTS[1], "hello", TEXTS[4], " "]
    gate = Gate.open(tiny_bundle, engine=EngineOptions(variant="fp32", threads=1))
    with serving(repository, programs, tmp_path, names) as server:
        answer, statistics = server.ask("http", _call(*texts), {"statistics": "level1_8"})
    found = _verdicts(answer)
    assert {verdict["model"]["provider"] for verdict in found} == {"MIGraphXExecutionProvider"}
    assert statistics["model_stats"][0]["inference_count"] > 0
    # The third is read in other windows: no bucket is as long as the bundle's.
    for i in (0, 1, 3):
        assert found[i]["unsafe"] == pytest.approx(gate.check(texts[i]).unsafe, abs=1e-4)
    assert found[2]["tokens"]["windows"] > gate.check(texts[2]).tokens.windows


def test_a_backends_model_with_other_weights_answers_nothing(
    mini_bundle: Path, programs: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "repository"
    write_repository(mini_bundle, repository, RepositoryOptions(variant="fp32", engine="backend"))
    names = _with_standins(repository)
    weights = repository / "level2" / "1" / "weights" / "level2-fp32.bin"
    size_bytes = weights.stat().st_size
    # Not through the link: the bundle's own file stays as it is.
    weights.unlink()
    weights.write_bytes(bytes(size_bytes))
    with serving(repository, programs, tmp_path, names) as server:
        (answer,) = server.ask("http", _call(TEXTS[1]))
    assert "logits of known texts differ" in answer["error"]
    assert answer["status"] == "500"
