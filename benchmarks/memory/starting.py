"""A gateway's start in a process of its own: import, open, first verdict, a hundred texts.

    python -m benchmarks.memory.starting < REQUEST

The request has the time at which the parent started this process, by the same clock.
"""

import json
import sys
import time


def start() -> None:
    """Serve one request of `benchmarks.memory.footprint` and print its figures as JSON."""
    import_began = time.perf_counter()
    import hazgate

    import_s = time.perf_counter() - import_began
    # Earlier, it would have imported part of the package.
    from benchmarks.harness.worker import status_bytes

    request = json.load(sys.stdin)
    options = hazgate.EngineOptions(variant=request["variant"], threads=request["threads"])
    gate = hazgate.Gate.open(request["bundle"], engine=options)
    gate.check(request["texts"][0], all_levels=True)
    answered = time.time()
    for text in request["texts"]:
        gate.check(text, all_levels=True)
    print(  # noqa: T201 - the parent reads it
        json.dumps(
            {
                "import_s": import_s,
                "first_verdict_s": answered - request["began"],
                "rss_bytes": status_bytes("VmRSS"),
                "anonymous_bytes": status_bytes("RssAnon"),
                "peak_rss_bytes": status_bytes("VmHWM"),
            }
        )
    )


if __name__ == "__main__":
    start()
