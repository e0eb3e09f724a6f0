import json
import platform
from pathlib import Path

from benchmarks.harness.machine import describe_machine
from hazgate.documents.decode import encode


def test_the_machine_is_described_without_its_name_or_paths() -> None:
    machine = describe_machine(["numpy", "no-such-distribution"])
    text = json.dumps(encode(machine))
    assert machine.cpu
    assert machine.processors >= 1
    assert machine.memory_gb > 0
    assert set(machine.versions) == {"python", "numpy"}
    assert str(Path.home()) not in text
    assert platform.node() not in text or len(platform.node()) < 4
