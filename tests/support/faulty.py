"""A gate whose engine fails in the process that a file names."""

import os
from pathlib import Path

from hazgate.errors import InferenceError
from hazgate.gate import Gate
from tests.support.sessions import watched_gate


def faulty(gate: Gate, fault: Path) -> Gate:
    """Return `gate`, whose Level 1 fails in the process whose id is in the file `fault`."""

    def before(_: object) -> None:
        if fault.exists() and fault.read_text() == str(os.getpid()):
            raise InferenceError("broken as asked")

    return watched_gate(gate, before)
