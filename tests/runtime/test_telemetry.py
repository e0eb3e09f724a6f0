"""No process of hazgate reports to anyone: ONNX Runtime's telemetry is off, and writes nothing."""

from pathlib import Path

from tests.support.homes import written_at_home

_OPEN = """
import sys
from hazgate import Gate
print(Gate.open(sys.argv[1]).check("hello").flagged)
"""


def test_a_gate_writes_nothing_at_home(tiny_bundle: Path, tmp_path: Path) -> None:
    assert written_at_home(tmp_path / "home", _OPEN, tiny_bundle) == []


def test_the_check_can_fail(tiny_bundle: Path, tmp_path: Path) -> None:
    # With its telemetry on, this release of ONNX Runtime writes a device id and a database.
    code = f"import onnxruntime\n{_OPEN}".replace(
        "print(", "onnxruntime.enable_telemetry_events()\nprint("
    )
    assert "deviceid" in str(written_at_home(tmp_path / "home", code, tiny_bundle))
