"""The library under releases of ONNX Runtime other than the locked one, from their own wheels."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

from tests.support.environments import environment

hazgate_kernels = pytest.importorskip(
    "hazgate_kernels", reason="built only where there is a C++ compiler"
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info[:2] != (3, 11), reason="these releases have wheels for 3.11"
    ),
]

_SCRIPT = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
options.register_custom_ops_library(sys.argv[1])
session = onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
x = numpy.ones((3, 8), dtype=numpy.float32)
print(session.run(None, {"x": x})[0][0].tolist())
"""


def _run(release: str, model: Path) -> subprocess.CompletedProcess[str]:
    python = environment("numpy<2", f"onnxruntime=={release}") / "python"
    command = [str(python), "-c", _SCRIPT, str(hazgate_kernels.library_path()), str(model)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    node = helper.make_node(
        "Linear",
        ["x", "", "", "", "", "", "weight", "scale"],
        ["y"],
        domain="hazgate",
        activation=0,
        activation_bits=8,
        epsilon=0.0,
    )
    constants: dict[str, NDArray[Any]] = {
        "weight": np.full((8, 2), 3, dtype=np.int8),
        "scale": np.array([1, 2], dtype=np.float32),
    }
    graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("hazgate", 1)]
    save(helper.make_model(graph, opset_imports=imports, ir_version=9), tmp_path / "linear.onnx")
    return tmp_path / "linear.onnx"


@pytest.mark.parametrize("release", ["1.17.3", "1.20.1", "1.24.4"])
def test_releases_since_1_17_run_it(model: Path, release: str) -> None:
    done = _run(release, model)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx([24, 48])


def test_an_older_release_is_refused_with_both_versions(model: Path) -> None:
    done = _run("1.16.3", model)
    assert done.returncode == 1
    assert "needs ONNX Runtime 1.17 or later, this is 1.16.3" in done.stderr
