"""A gate whose engine fails in the process that a file names, as long as it names it."""

import dataclasses
import os
from pathlib import Path
from typing import Any, cast

from hazgate.engine.session import Session
from hazgate.errors import InferenceError
from hazgate.gate import Gate


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _FaultySession:
    session: Session
    fault: Path

    def run(self, input_ids: Any, attention_mask: Any) -> Any:  # noqa: ANN401
        if self.fault.exists() and self.fault.read_text() == str(os.getpid()):
            raise InferenceError("broken as asked")
        return self.session.run(input_ids, attention_mask)


def faulty(gate: Gate, fault: Path) -> Gate:
    """`gate`, whose Level 1 fails in the process whose id is in the file `fault`."""
    session = _FaultySession(session=gate.level1.session, fault=fault)
    level = dataclasses.replace(gate.level1, session=cast("Session", session))
    return dataclasses.replace(gate, level1=level)
