"""The engine's own peak in process, for `benchmarks.corpus.run`.

python -m benchmarks.corpus.peak < REQUEST
"""

import json
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import hazgate
from benchmarks.harness.stopwatch import seconds_of_each

# Enough that dividing a chunk among the workers leaves none of them waiting for long.
_CHUNK_TEXTS = 4096
_WARM_UP_TEXTS = 512


def peak() -> None:
    """Serve one request and print texts per second as JSON."""
    request = json.load(sys.stdin)
    with Path(request["file"]).open("rb") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, request["n_texts"])]
    gate = hazgate.Gate.open(
        request["bundle"], engine=hazgate.EngineOptions(workers=request["workers"])
    )
    gate.check_many(texts[:_WARM_UP_TEXTS])
    chunks = [texts[i : i + _CHUNK_TEXTS] for i in range(0, len(texts), _CHUNK_TEXTS)]
    seconds = seconds_of_each(partial(gate.check_many, chunk) for chunk in chunks)
    rate = len(texts) / sum(seconds)
    print(json.dumps({"texts_per_s": rate}))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    peak()
