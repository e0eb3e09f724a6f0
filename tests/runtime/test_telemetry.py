"""No process of hazgate reports to anyone: ONNX Runtime's telemetry is off, and writes nothing."""

import importlib.util
from pathlib import Path

import pytest

from tests.support.processes import run_python

# ONNX Runtime reports nothing where these say that a build service runs it.
_BUILD_SERVICES = {"CI": "", "GITHUB_ACTIONS": "", "TF_BUILD": ""}
_OPEN = """
import sys
from hazgate import Gate
print(Gate.open(sys.argv[1]).check("hello").flagged)
"""
_OBSERVE = """
import sys
from pathlib import Path
import numpy as np
from hazgate_export.author.observe import observe
try:
    observe(Path(sys.argv[1]), [np.ones((1, 4), np.int64)], threads=1)
except ValueError:
    print("this graph shows no sites, but it ran")
"""


def _run(home: Path, code: str, *arguments: str | Path) -> list[str]:
    """Run code at home in an empty folder, as if nobody had set anything; return what it wrote."""
    home.mkdir()
    env = {"HOME": str(home), "XDG_CACHE_HOME": "", "ORT_DISABLE_TELEMETRY": "", **_BUILD_SERVICES}
    done = run_python("-c", code, *arguments, env=env)
    assert done.returncode == 0, done.stderr
    return [str(path.relative_to(home)) for path in home.rglob("*")]


def test_a_gate_writes_nothing_at_home(tiny_bundle: Path, tmp_path: Path) -> None:
    assert _run(tmp_path / "home", _OPEN, tiny_bundle) == []


def test_the_check_can_fail(tiny_bundle: Path, tmp_path: Path) -> None:
    # With its telemetry on, this release of ONNX Runtime writes a device id and a database.
    code = f"import onnxruntime\n{_OPEN}".replace(
        "print(", "onnxruntime.enable_telemetry_events()\nprint("
    )
    assert "deviceid" in str(_run(tmp_path / "home", code, tiny_bundle))


@pytest.mark.skipif(
    importlib.util.find_spec("hazgate_export") is None, reason="the runtime alone is installed"
)
def test_the_exporter_writes_nothing_at_home(tiny_bundle: Path, tmp_path: Path) -> None:
    graph = next(tiny_bundle.rglob("*.onnx"))
    assert _run(tmp_path / "home", _OBSERVE, graph) == []
