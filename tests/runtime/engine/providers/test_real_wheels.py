"""Real wheels of ONNX Runtime with other providers, as far as a host without a GPU can go."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from tests.support.damage import edit_manifest
from tests.support.environments import environment
from tests.support.processes import run

pytestmark = pytest.mark.slow

RUNTIME = str(Path(__file__).parents[4] / "runtime")
SCRIPT = Path(__file__).parent / "open_gate.py"
MIGRAPHX = "onnxruntime-migraphx==1.23.2"
NEWER_MIGRAPHX = "onnxruntime-migraphx==1.27.1"
ROCM = "onnxruntime-rocm==1.22.2.post3"
PLAIN = "onnxruntime==1.32.0"
PROVIDERS = (
    "CPUExecutionProvider",
    "MIGraphXExecutionProvider",
    "ROCMExecutionProvider",
    "OpenVINOExecutionProvider",
)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle, whose fp32 variant is for every provider."""
    copy = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("wheels") / "bundle"))

    def allow(data: dict[str, Any]) -> None:
        for level in data["levels"].values():
            level["variants"]["fp32"]["execution_providers"] = list(PROVIDERS)

    edit_manifest(copy, allow)
    return copy


def _ask(bundle: Path, provider: str, *requirements: str, gpu: bool = True) -> dict[str, Any]:
    python = environment(RUNTIME, *requirements) / "python"
    flags = ["--gpu"] if gpu else []
    # The environment is kept, and its copy of the runtime may be an older one.
    done = run(python, SCRIPT, bundle, provider, *flags, env={"PYTHONPATH": RUNTIME})
    assert done.returncode == 0, done.stderr
    # A single line: nothing of ONNX Runtime's own is printed to a host's terminal.
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("wheel", [MIGRAPHX, NEWER_MIGRAPHX])
def test_migraphx_without_rocm_is_refused_with_the_library_that_is_missing(
    bundle: Path, wheel: str
) -> None:
    answer = _ask(bundle, "migraphx", wheel)
    assert answer["error"] == "ProviderError"
    assert "libmigraphx_c.so" in answer["message"]


def test_rocm_that_would_silently_run_on_the_cpu_is_refused(bundle: Path) -> None:
    answer = _ask(bundle, "rocm", ROCM)
    assert answer["error"] == "ProviderError"
    assert "ROCMExecutionProvider was requested" in answer["message"]


def test_a_host_without_a_gpu_is_refused_before_a_wheel_is_loaded(bundle: Path) -> None:
    answer = _ask(bundle, "migraphx", MIGRAPHX, gpu=False)
    assert "no AMD GPU is visible" in answer["message"]
    assert _ask(bundle, "auto", MIGRAPHX, gpu=False)["provider"] == "CPUExecutionProvider"


@pytest.mark.parametrize("order", [(PLAIN, NEWER_MIGRAPHX), (NEWER_MIGRAPHX, PLAIN)])
def test_two_distributions_side_by_side_are_refused_in_either_order(
    bundle: Path, order: tuple[str, str]
) -> None:
    answer = _ask(bundle, "migraphx", *order)
    assert answer["error"] == "ProviderError"
    words = answer["message"]
    assert "side by side" in words or "is not in the installed onnxruntime" in words
    assert "onnxruntime-migraphx" in words


def test_a_plug_in_is_registered_and_owns_the_graph_or_has_no_device_and_is_refused(
    bundle: Path,
) -> None:
    answer = _ask(bundle, "openvino", PLAIN, "onnxruntime-ep-openvino==1.8.1", gpu=False)
    if "GenuineIntel" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        # Its library loads, is registered, and takes no processor of another maker.
        assert answer["error"] == "ProviderError"
        assert "its library finds 0" in answer["message"]
        return
    assert answer["provider"] == "OpenVINOExecutionProvider"
    assert set(answer["owners"]) == {"OpenVINOExecutionProvider"}
    cpu = Gate.open(bundle, engine=EngineOptions(variant="fp32", threads=1))
    expected = [verdict.unsafe for verdict in cpu.check_many(["hello", "a b c", ""])]
    assert answer["unsafe"] == pytest.approx(expected, abs=1e-4)
