"""`python -m benchmarks.speed.panel PANEL APART`: levels on one body beside levels on two.

Both bundles answer the same texts of each length in turns, on one thread: PANEL with Level 1
alone, with its cascade, and with every level; APART with its cascade. Level 2 answers on each text,
as on a flagged one. Times are of the processor, and medians.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate import EngineOptions, Gate, Reading
from hazgate.cli.progress import track

_COMMAND = "python -m benchmarks.speed.panel"
_FILE = "panel.json"
_TOKENS = (16, 64, 128, 512)
_WORD = "word "


@dataclass(frozen=True, kw_only=True, slots=True)
class PanelFigures:
    """Texts of one length; milliseconds of a text, medians over rounds that took turns.

    Attributes:
        tokens: of a text, special ones included.
        level1_ms: one level of the body.
        cascade_ms: both levels of the cascade on one body.
        every_ms: every level of the bundle.
        apart_ms: both levels of the other bundle's cascade, each on a body of its own.
    """

    tokens: int
    level1_ms: float
    cascade_ms: float
    every_ms: float
    apart_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PanelResults:
    """All that one run measured; `levels` are the panel's, `apart` names the other bundle."""

    header: ResultHeader
    variant: str
    levels: tuple[str, ...]
    apart: str
    apart_digest: str
    rounds: int
    figures: tuple[PanelFigures, ...]


def panel_table(results: PanelResults) -> str:
    """Return a row per length in Markdown."""
    head = (
        "tokens",
        "one level, ms",
        "cascade on one body, ms",
        f"all {len(results.levels)} levels, ms",
        f"cascade of `{results.apart}`, ms",
        "all levels, of one level",
        "cascade on one body, of two",
    )
    rows = [
        (
            f"{each.tokens}",
            f"{each.level1_ms:.2f}",
            f"{each.cascade_ms:.2f}",
            f"{each.every_ms:.2f}",
            f"{each.apart_ms:.2f}",
            f"{each.every_ms / each.level1_ms:.2f}",
            f"{each.cascade_ms / each.apart_ms:.2f}",
        )
        for each in results.figures
    ]
    run = results.header
    return (
        f"`{run.name}` ({', '.join(results.levels)}) beside `{results.apart}`, both "
        f"`{results.variant}`; processor time of one thread on {run.host.summary}, from a text to "
        f"its verdict, with Level 2 read. {run.origin}\n\n{table(head, rows)}"
    )


@click.command(epilog=f"Example: {_COMMAND} build/panel build/mini")
@click.argument("panel", type=click.Path(path_type=Path))
@click.argument("apart", type=click.Path(path_type=Path))
@click.option("--variant", default="auto", show_default=True, help="Variant of both to open.")
@click.option("--rounds", type=click.IntRange(min=3), default=60, show_default=True)
@refusals()
def main(panel: Path, apart: Path, variant: str, rounds: int) -> None:
    """Time a bundle whose levels share a body beside one whose levels do not.

    Writes results/panel.json.
    """
    gate, other = (_opened(path, variant) for path in (panel, apart))
    if gate.level1.graph != gate.level2.graph or other.level1.graph == other.level2.graph:
        raise BenchmarkError(
            f"expected a cascade on one body in {panel} and one on two in {apart}: hazgate info "
            "says which levels one pass computes"
        )
    if gate.model.variant != other.model.variant:
        raise BenchmarkError(
            f"expected one variant, got {gate.model.variant} and {other.model.variant}: name it"
        )
    ways: Mapping[str, Callable[[str], object]] = {
        "level1_ms": lambda text: gate.level1.classify([text]),
        "cascade_ms": lambda text: gate.check(text, all_levels=True),
        "every_ms": lambda text: gate.check(text, all_levels=True, levels=tuple(gate.beside)),
        "apart_ms": lambda text: other.check(text, all_levels=True),
    }
    results = PanelResults(
        header=header(
            gate.model.bundle,
            f"{_COMMAND} build/{gate.model.bundle} build/{other.model.bundle} --rounds {rounds}",
            digest=gate.model.digest,
            threads=1,
        ),
        variant=gate.model.variant,
        levels=tuple(level.level for level in gate.levels),
        apart=other.model.bundle,
        apart_digest=other.model.digest,
        rounds=rounds,
        figures=tuple(
            PanelFigures(tokens=n, **measured(ways, text_of(gate, n), rounds))
            for n in track(list(_TOKENS), "lengths")
        ),
    )
    publish(results, RESULTS / _FILE, panel_table)


def measured(
    ways: Mapping[str, Callable[[str], object]], text: str, rounds: int
) -> dict[str, float]:
    """Return the median processor time of each way to ask about a text, in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for ask in ways.values():
        # The first run of a shape allocates what later ones use again.
        ask(text)
    names = list(ways)
    for n in range(rounds):
        shift = n % len(names)
        for name in names[shift:] + names[:shift]:
            start_s = time.process_time()
            ways[name](text)
            taken[name].append(time.process_time() - start_s)
    return {name: 1e3 * float(np.median(times)) for name, times in taken.items()}


def text_of(gate: Gate, n_tokens: int) -> str:
    """Return a text that Level 1 reads in so many tokens, special ones included, in one window.

    Raises:
        BenchmarkError: there is none.
    """
    n_special = len(gate.level1.tokenizer.encode([""])[0].windows[0].input_ids)
    text = _WORD * (n_tokens - n_special)
    (tokens,) = gate.level1.tokenizer.encode([text])
    if n_tokens <= gate.level1.spec.tokenizer.window_tokens and tokens.count.total != (
        n_tokens - n_special
    ):
        raise BenchmarkError(f"expected {n_tokens} tokens, got {tokens.count.total + n_special}")
    return text


def _opened(path: Path, variant: str) -> Gate:
    engine = EngineOptions(variant=variant, threads=1)
    # A text is read once, so that a pass is a pass.
    reading = Reading(views=(), sentences_from_tokens=sys.maxsize)
    return Gate.open(path, engine=engine, reading=reading)


REGIONS: Regions = {"panel": region(_FILE, PanelResults, panel_table)}


if __name__ == "__main__":
    main()
