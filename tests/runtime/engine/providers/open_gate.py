"""Run in an environment with another onnxruntime: opens a gate, and prints what came of it as JSON.

    python open_gate.py BUNDLE PROVIDER [--gpu]

With --gpu the host is taken to have an AMD GPU, so that the wheel itself is asked.
"""

import json
import sys

from hazgate import Gate, HazgateError
from hazgate.engine.options import EngineOptions
from hazgate.engine.providers import host


def main() -> None:
    bundle, provider, *flags = sys.argv[1:]
    if flags == ["--gpu"]:
        host.amd_gpus = lambda topology: ("gfx942",)
    try:
        gate = Gate.open(
            bundle, engine=EngineOptions(providers=provider, variant="fp32", threads=1)
        )
        found = {
            "provider": gate.model.provider,
            "owners": dict(getattr(gate.level1.session, "owners", {})),
            "unsafe": [verdict.unsafe for verdict in gate.check_many(["hello", "a b c", ""])],
        }
    except HazgateError as error:
        found = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(found))  # noqa: T201 - its output is the answer


if __name__ == "__main__":
    main()
