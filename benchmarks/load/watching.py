"""`python -m benchmarks.load.watching BUNDLE`: the time to watch a text grow, next to one check.

A harmless text is checked once, and then watched in small pieces and finished, which checks it once
more. It prints the seconds of both and their ratio, which is to be at most two; nothing is written.
The gate flags nothing here, because a watch stops reading what has become unsafe.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

import click

from benchmarks.harness.command import refusals
from benchmarks.harness.errors import BenchmarkError
from hazgate import Gate, Reading
from hazgate.engine.options import EngineOptions

_PROSE = "In week {i} the committee will publish its report on gardens and parks of the town. "
# The threshold that flags nothing that is not certain.
_NOTHING = 1 - 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """Seconds of a check of a text of `n_tokens`, and of a watch of it with its `n_checks`."""

    n_tokens: int
    check_s: float
    watch_s: float
    n_checks: int


@click.command(epilog="Example: python -m benchmarks.load.watching build/mini --repeats 3")
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
    help="Turns of check and watch; the medians are printed.",
)
@refusals()
def main(bundle: Path, variant: str, sizes_bytes: Sequence[int], piece: int, repeats: int) -> None:
    """Check and watch harmless texts of several sizes, and print the seconds of each."""
    reading = Reading(max_text_bytes=max(sizes_bytes) + 1, max_text_tokens=max(sizes_bytes) + 1)
    engine = EngineOptions(variant=variant)
    gate = Gate.open(bundle, engine=engine, reading=reading, threshold=_NOTHING)
    # The first run allocates what later ones use again.
    gate.check(prose(min(*sizes_bytes, 4096)))
    click.echo("bytes\ttokens\tchecks of the watch\tcheck s\twatch s\tratio")
    for size_bytes in sizes_bytes:
        text = prose(size_bytes)
        turns = [watched(gate, text, piece) for _ in range(repeats)]
        check_s, watch_s = (
            median(seconds)
            for seconds in zip(*((turn.check_s, turn.watch_s) for turn in turns), strict=True)
        )
        click.echo(
            f"{len(text)}\t{turns[0].n_tokens}\t{turns[0].n_checks}\t"
            f"{check_s:.2f}\t{watch_s:.2f}\t{watch_s / check_s:.2f}"
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
    start_s = time.perf_counter()
    verdict = gate.check(text)
    check_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    watch = gate.watch()
    if any(watch.add(part) for part in _pieces(text, piece)) or watch.finish().flagged:
        raise BenchmarkError("the gate flags the benchmark's text, so the watch stopped early")
    watch_s = time.perf_counter() - start_s
    return Watched(
        n_tokens=verdict.tokens.total,
        check_s=check_s,
        watch_s=watch_s,
        n_checks=watch.n_checks,
    )


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


if __name__ == "__main__":
    main()
