"""`python -m benchmarks.load.watching BUNDLE`: the time to watch a text grow, next to one check.

A harmless text is checked once, and then watched in small pieces and finished, which checks the
whole. The watch is to take at most twice the time of the check. Times are processor time of one
thread. The gate flags nothing here, because a watch stops reading what has become unsafe.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import median

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate import Gate, Reading
from hazgate.engine.options import EngineOptions

_COMMAND = "python -m benchmarks.load.watching"
_PROSE = "In week {i} the committee will publish its report on gardens and parks of the town. "
# The threshold that flags nothing that is not certain.
_NOTHING = 1 - 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """Processor seconds of a check of a text of `n_tokens`, and of a watch with its `n_checks`."""

    n_bytes: int
    n_tokens: int
    check_s: float
    watch_s: float
    n_checks: int

    @property
    def ratio(self) -> float:
        """Time of the watch, in times of one check."""
        return self.watch_s / self.check_s


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchingResults:
    """All that one run measured; `piece_bytes` is the size of a piece."""

    header: ResultHeader
    variant: str
    piece_bytes: int
    repeats: int
    texts: tuple[Watched, ...]


def watching_table(results: WatchingResults) -> str:
    """Return the texts in Markdown."""
    head = (
        "bytes",
        "tokens",
        "windows of the watch",
        "one check, s",
        "watch and its end, s",
        "times",
    )
    rows = [
        (
            f"{each.n_bytes:,}",
            f"{each.n_tokens:,}",
            f"{each.n_checks:,}",
            f"{each.check_s:.2f}",
            f"{each.watch_s:.2f}",
            f"{each.ratio:.2f}",
        )
        for each in results.texts
    ]
    run = results.header
    return (
        f"`{run.name}`, `{results.variant}`, pieces of {results.piece_bytes} bytes; processor time "
        f"of one thread on {run.host.summary}, median of {results.repeats}. "
        f"{run.origin}\n\n{table(head, rows)}"
    )


@click.command(epilog=f"Example: {_COMMAND} build/mini --repeats 3")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--variant", default="auto", show_default=True, help="Variant to open.")
@click.option(
    "--bytes",
    "sizes_bytes",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1 << 17, 1 << 20),
    show_default=True,
    help="Size of a text; give it several times for several texts.",
)
@click.option(
    "--piece",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Characters of a piece.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Turns of check and watch; the medians are shown.",
)
@refusals()
def main(bundle: Path, variant: str, sizes_bytes: Sequence[int], piece: int, repeats: int) -> None:
    """Check and watch harmless texts of several sizes, and print the seconds of each.

    Writes results/watching.json.
    """
    reading = Reading(max_text_bytes=max(sizes_bytes) + 1, max_text_tokens=max(sizes_bytes) + 1)
    engine = EngineOptions(variant=variant, threads=1)
    gate = Gate.open(bundle, engine=engine, reading=reading, threshold=_NOTHING)
    # The first run allocates what later ones use again.
    gate.check(prose(min(*sizes_bytes, 4096)))
    texts = tuple(
        _median([watched(gate, prose(size_bytes), piece) for _ in range(repeats)])
        for size_bytes in sizes_bytes
    )
    name = gate.model.bundle
    results = WatchingResults(
        header=header(
            name,
            f"{_COMMAND} build/{name} --repeats {repeats}",
            digest=gate.model.digest,
            threads=1,
        ),
        variant=gate.model.variant,
        piece_bytes=piece,
        repeats=repeats,
        texts=texts,
    )
    publish(results, RESULTS / "watching.json", watching_table)


def _median(turns: Sequence[Watched]) -> Watched:
    return replace(
        turns[0],
        check_s=median(turn.check_s for turn in turns),
        watch_s=median(turn.watch_s for turn in turns),
    )


def prose(size_bytes: int) -> str:
    """Return harmless English of exactly so many characters, no two sentences alike."""
    sentences, n_bytes = [], 0
    for i in count():
        if n_bytes >= size_bytes:
            break
        sentences.append(_PROSE.format(i=i))
        n_bytes += len(sentences[-1])
    return "".join(sentences)[:size_bytes]


def watched(gate: Gate, text: str, piece: int) -> Watched:
    """Check a text, then watch it in pieces of so many characters.

    Raises:
        BenchmarkError: the bundle flags the text.
    """
    start_s = time.process_time()
    verdict = gate.check(text)
    check_s = time.process_time() - start_s
    start_s = time.process_time()
    watch = gate.watch()
    if any(watch.add(part) for part in _pieces(text, piece)) or watch.finish().flagged:
        raise BenchmarkError("the gate flags the benchmark's text, so the watch stopped early")
    watch_s = time.process_time() - start_s
    return Watched(
        n_bytes=len(text),
        n_tokens=verdict.tokens.total,
        check_s=check_s,
        watch_s=watch_s,
        n_checks=watch.n_checks,
    )


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


REGIONS: Regions = {"watching": region("watching.json", WatchingResults, watching_table)}


if __name__ == "__main__":
    main()
