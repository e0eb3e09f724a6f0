"""Start of one worker in its own process: time to its first verdict, then its memory.

    python -m hazgate_scale.capacity.starting BUNDLE VARIANT PROVIDER THREADS

The parent's clock starts before this process.
"""

import json
import sys
from pathlib import Path

_N_TEXTS = 50


def main() -> None:
    """Write a line at the first verdict, and one with memory figures after more texts."""
    from hazgate.engine.options import EngineOptions
    from hazgate.gate import Gate

    bundle, variant, provider, threads = sys.argv[1:]
    gate = Gate.open(
        bundle, engine=EngineOptions(variant=variant, providers=provider, threads=int(threads))
    )
    gate.check("ready", all_levels=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for n in range(1, _N_TEXTS + 1):
        gate.check("word " * n, all_levels=True)
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines()
    )
    names = {"rss_bytes": "VmRSS", "unshared_bytes": "RssAnon"}
    found = {key: 1024 * int(status[name].split()[0]) for key, name in names.items()}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
