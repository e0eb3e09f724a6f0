"""Nothing leaves the host: no socket beyond the loopback, no file that nobody asked for."""

from pathlib import Path

import pytest

from tests.support.sealed_off import check_stays, needs_namespaces, python_at_home

pytestmark = [pytest.mark.slow, needs_namespaces]

# ONNX Runtime's telemetry asks for an address after nine seconds.
_LONG_ENOUGH_S = 12
_NOTEBOOK = f"""
import sys, time
from hazgate import Gate
gate = Gate.open(sys.argv[1])
print(gate.check("good morning").flagged)
time.sleep({_LONG_ENOUGH_S})
"""
# In a namespace of its own every port is free.
_SERVE = """
import json, subprocess, sys, time
from urllib.request import Request, urlopen
serve = [sys.executable, "-m", "hazgate", "serve", sys.argv[1], "--workers", "2"]
server = subprocess.Popen([*serve, "--port", "18080", "--grpc-port", "18081"])
until_s, n_answered = time.monotonic() + 60, 0
while n_answered < 24 and time.monotonic() < until_s:
    body = json.dumps({"text": "good morning"}).encode()
    headers = {"content-type": "application/json"}
    try:
        urlopen(Request("http://127.0.0.1:18080/v1/check", body, headers)).read()
        n_answered += 1
    except OSError:
        assert server.poll() is None
    time.sleep(0.5)
server.terminate()
print(n_answered, server.wait())
"""


def test_a_notebook_reaches_nobody_and_writes_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    watched = python_at_home(tmp_path, "-c", _NOTEBOOK, tiny_bundle)
    check_stays(watched, tmp_path)
    assert watched.output.split() == ["True"]


def test_the_command_line_reaches_nobody_and_writes_nothing(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    watched = python_at_home(tmp_path, "-m", "hazgate", "classify", tiny_bundle, "good morning")
    check_stays(watched, tmp_path)


def test_a_server_reaches_nobody_and_writes_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    watched = python_at_home(tmp_path, "-c", _SERVE, tiny_bundle)
    check_stays(watched, tmp_path)
    assert watched.output.split()[-2:] == ["24", "0"], watched.output


def test_the_check_fails_where_telemetry_is_on(tiny_bundle: Path, tmp_path: Path) -> None:
    on = f"import onnxruntime\nonnxruntime.enable_telemetry_events()\n{_NOTEBOOK}"
    watched = python_at_home(tmp_path, "-c", on, tiny_bundle, ORT_DISABLE_TELEMETRY="0")
    assert watched.code == 0, watched.output
    assert any("deviceid" in file for file in watched.outside(tmp_path / "temporary"))
    # It asks a name server for the address to report to.
    assert any("htons(53)" in call for call in watched.reached)
