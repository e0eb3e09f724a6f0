"""Measure the engine's own peak in process, for `benchmarks.corpus.run`.

python -m benchmarks.corpus.peak < REQUEST
"""

import json
import sys
import time
from itertools import islice
from pathlib import Path

import hazgate

# Enough for the workers to divide among themselves without waiting for the last of them.
_CHUNK_TEXTS = 4096
_WARM_UP_TEXTS = 512


def peak() -> None:
    """Serves one request and prints texts a second, as JSON."""
    request = json.load(sys.stdin)
    with Path(request["file"]).open("rb") as lines:
        texts = [json.loads(line)["text"] for line in islice(lines, request["n_texts"])]
    gate = hazgate.Gate.open(request["bundle"], workers=request["workers"])
    gate.check_many(texts[:_WARM_UP_TEXTS])
    began = time.perf_counter()
    for first in range(0, len(texts), _CHUNK_TEXTS):
        gate.check_many(texts[first : first + _CHUNK_TEXTS])
    rate = len(texts) / (time.perf_counter() - began)
    print(json.dumps({"texts_per_s": rate}))  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    peak()
