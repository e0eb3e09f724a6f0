"""`python -m benchmarks.load.reading`: the time to read a body, next to json.loads of it.

Times are processor time of one thread, which other work on the machine changes least. What the
garbage collector does behind a reading counts, too. Bodies take turns.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.statistics import RoundSpread, spread
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.load.bodies import BODIES
from hazgate.cli.progress import track
from hazgate.serving.bodies.read import read_body

_COMMAND = "python -m benchmarks.load.reading"
_HEADERS = {"content-type": "application/json"}
_SIZES_BYTES = (10_000, 100_000, 1_000_000, 2_000_000)
# A round of a small body is several readings of it.
_ROUND_BYTES = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingFigures:
    """One body: milliseconds to read it and to parse it with json.loads, over the rounds."""

    kind: str
    size_bytes: int
    n_passages: int
    read_ms: RoundSpread
    json_ms: RoundSpread
    ratio: RoundSpread


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingResults:
    """All that one run measured."""

    header: ResultHeader
    rounds: int
    bodies: tuple[ReadingFigures, ...]


def reading_table(results: ReadingResults) -> str:
    """Return the bodies in Markdown."""
    head = ("body", "bytes", "texts", "read, ms", "ns a byte", "json.loads, ms", "× json.loads")
    rows = [
        (
            body.kind,
            f"{body.size_bytes:,}",
            f"{body.n_passages:,}",
            f"{body.read_ms.median:.2f} [{body.read_ms.least:.2f}–{body.read_ms.greatest:.2f}]",
            f"{body.read_ms.median / body.size_bytes * 1e6:.1f}",
            f"{body.json_ms.median:.2f}",
            f"{body.ratio.median:.1f}",
        )
        for body in results.bodies
    ]
    run = results.header
    return (
        f"Processor time of one thread on {run.host.summary}; median of {results.rounds} rounds. "
        f"{run.origin}\n\n{table(head, rows)}"
    )


@click.command(epilog=f"Example: {_COMMAND} --rounds 40")
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@refusals()
def main(rounds: int) -> None:
    """Read prompts, chats and agents' requests of several sizes, and print the time of each.

    Writes results/reading.json.
    """
    bodies = {(kind, size): make(size) for kind, make in BODIES.items() for size in _SIZES_BYTES}
    for body in bodies.values():
        _read(body)
    read_s: dict[tuple[str, int], list[float]] = {key: [] for key in bodies}
    json_s: dict[tuple[str, int], list[float]] = {key: [] for key in bodies}
    for _ in track(range(rounds), "readings"):
        for key, body in bodies.items():
            read_s[key].append(_seconds(_read, body))
            json_s[key].append(_seconds(json.loads, body))
    results = ReadingResults(
        header=header("reading", f"{_COMMAND} --rounds {rounds}", threads=1),
        rounds=rounds,
        bodies=tuple(
            ReadingFigures(
                kind=kind,
                size_bytes=len(body),
                n_passages=_read(body),
                read_ms=spread([1e3 * s for s in read_s[kind, size]]),
                json_ms=spread([1e3 * s for s in json_s[kind, size]]),
                ratio=spread(
                    [r / j for r, j in zip(read_s[kind, size], json_s[kind, size], strict=True)]
                ),
            )
            for (kind, size), body in bodies.items()
        ),
    )
    publish(results, RESULTS / "reading.json", reading_table)


def _read(body: bytes) -> int:
    """Read a body; return its number of passages."""
    return len(read_body(_HEADERS, body, "request").passages)


def _seconds(call: Callable[[bytes], object], body: bytes) -> float:
    """Return the processor time of one call, of several where the body is small."""
    n_calls = max(1, _ROUND_BYTES // len(body))
    start = time.thread_time()
    for _ in range(n_calls):
        call(body)
        # A collection that is due happens as the next container is made.
        [].clear()
    return (time.thread_time() - start) / n_calls


REGIONS: Regions = {"reading": region("reading.json", ReadingResults, reading_table)}


if __name__ == "__main__":
    main()
