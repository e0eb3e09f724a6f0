"""`python -m benchmarks.quality.early BUNDLE --data FILE`: speed and misses of early exits.

The same texts are read by a variant with early exits and by the plain one with the same settings,
in turns. A text is missed if the plain variant flags it and the other does not.
"""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.markdown import spread_text, table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.statistics import RoundSpread, speedup
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.quality.rows import english_rows, row_options, spelt_options
from hazgate import Gate, Verdict
from hazgate.engine.options import EngineOptions, ExitOptions
from hazgate_evaluation.rows import LabelledRow, LabelNames

_COMMAND = "python -m benchmarks.quality.early"
_SEED = 20261
# The share of unsafe texts among those that are timed.
_UNSAFE_SHARE = 0.05
_CHUNK_TEXTS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedTexts:
    """One way of asking: texts of a call, and how many times faster the exits are."""

    texts_per_call: int
    times: RoundSpread


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceTexts:
    """Texts of one source: those that the plain variant flags, those missed, those that left."""

    source: str
    n_texts: int
    n_flagged: int
    n_missed: int
    n_left: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyResults:
    """All that one run measured.

    `decided_after` counts the timed texts that left by the number of layers after which their last
    window did; the rest of `n_timed` was read whole.
    """

    header: ResultHeader
    plain: str
    early: str
    n_timed: int
    rounds: int
    timed: tuple[TimedTexts, ...]
    decided_after: dict[str, int]
    sources: tuple[SourceTexts, ...]


def early_table(results: EarlyResults) -> str:
    """Return speed, layers and sources in Markdown."""
    n_left = sum(results.decided_after.values())
    layers = ", ".join(
        f"{n / results.n_timed:.0%} after {layers}" for layers, n in results.decided_after.items()
    )
    every = results.sources
    rows = [
        (each.source, str(each.n_texts), f"{each.n_left / each.n_texts:.0%}", *_missed(each))
        for each in (*every, _together(every))
    ]
    return "\n\n".join(
        (
            f"`{results.header.name}`, `{results.early}` beside `{results.plain}`; "
            f"{results.n_timed} English texts, {1 - _UNSAFE_SHARE:.0%} of them safe, in "
            f"{results.rounds} rounds of turns. {results.header.origin}",
            table(
                ("texts of a call", "times as many texts a second, median [least–greatest]"),
                [
                    (str(each.texts_per_call), spread_text(each.times, 1, 2))
                    for each in results.timed
                ],
            ),
            f"Of these texts {n_left / results.n_timed:.0%} left: {layers or 'none'} layers. By "
            "source, of all texts of the file:",
            table(
                ("source", "texts", "left", "flagged by the plain variant", "of these missed"), rows
            ),
        )
    )


@click.command(epilog=f"Example: {_COMMAND} build/mini --data train.jsonl --source ifeval")
@click.argument("bundle", type=click.Path(path_type=Path))
@row_options
@click.option("--plain", default="int8-fused", show_default=True, help="Variant to compare with.")
@click.option("--early", default="int8-fused-early", show_default=True, help="With early exits.")
@click.option("--texts", type=click.IntRange(min=20), default=600, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True)
@refusals()
def main(
    bundle: Path,
    data: Path,
    sources: tuple[str, ...],
    plain: str,
    early: str,
    texts: int,
    rounds: int,
) -> None:
    """Time BUNDLE with and without early exits on texts of DATA, and count what is missed.

    Writes results/early-NAME.json.
    """
    whole, leaving = (
        Gate.open(bundle, engine=EngineOptions(variant=variant, threads=1))
        for variant in (plain, early)
    )
    # The audit reads a share of the texts whole: timed as served, but no miss is overlooked.
    unaudited = EngineOptions(variant=early, threads=1, exits=ExitOptions(audit_share=0.0))
    every_left = Gate.open(bundle, engine=unaudited)
    rows = english_rows(data, LabelNames.of(whole), sources)
    timed = _draw(rows, texts)
    name = whole.model.bundle
    results = EarlyResults(
        header=header(
            name,
            f"{_COMMAND} build/{name} {spelt_options(data, sources)} --plain {plain} "
            f"--early {early} --texts {texts} --rounds {rounds}",
            digest=whole.model.digest,
            threads=1,
        ),
        plain=plain,
        early=early,
        n_timed=len(timed),
        rounds=rounds,
        timed=tuple(
            TimedTexts(texts_per_call=n, times=_times(whole, leaving, timed, n, rounds))
            for n in (1, _CHUNK_TEXTS)
        ),
        decided_after=_layers([each.decided_after for each in _verdicts(every_left, timed)]),
        sources=_by_source(whole, every_left, rows),
    )
    publish(results, RESULTS / f"early-{name}.json", early_table)


def _draw(rows: Sequence[LabelledRow], n_texts: int) -> list[str]:
    """Draw texts of both classes, as many unsafe ones as the share says, in random order."""
    drawn = random.Random(_SEED)  # noqa: S311 - a sample, no secret
    n_unsafe = round(n_texts * _UNSAFE_SHARE)
    parts = [
        drawn.sample(of_class, min(n, len(of_class)))
        for n, of_class in (
            (n_unsafe, [row.text for row in rows if row.level1 != "safe"]),
            (n_texts - n_unsafe, [row.text for row in rows if row.level1 == "safe"]),
        )
    ]
    texts = [text for part in parts for text in part]
    drawn.shuffle(texts)
    return texts


def _times(
    plain: Gate, early: Gate, texts: Sequence[str], texts_per_call: int, rounds: int
) -> RoundSpread:
    """Return how many times faster `early` reads the texts, in calls of so many."""
    order = random.Random(_SEED)  # noqa: S311 - a schedule, no secret
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(rounds):
        for k in order.sample((0, 1), 2):
            gate = (plain, early)[k]
            begin = time.perf_counter()
            for start in range(0, len(texts), texts_per_call):
                gate.check_many(texts[start : start + texts_per_call])
            seconds[k].append(time.perf_counter() - begin)
    return speedup(seconds[0], seconds[1])


def _verdicts(gate: Gate, texts: Sequence[str]) -> list[Verdict]:
    return [
        verdict
        for start in range(0, len(texts), _CHUNK_TEXTS)
        for verdict in gate.check_many(texts[start : start + _CHUNK_TEXTS])
    ]


def _layers(decided_after: Sequence[int | None]) -> dict[str, int]:
    """Count texts that left, by layers."""
    counts = Counter(layers for layers in decided_after if layers is not None)
    return {str(layers): counts[layers] for layers in sorted(counts)}


def _by_source(plain: Gate, early: Gate, rows: Sequence[LabelledRow]) -> tuple[SourceTexts, ...]:
    texts = [row.text for row in rows]
    pairs = list(zip(_verdicts(plain, texts), _verdicts(early, texts), strict=True))
    found = []
    for source in sorted({row.source or "" for row in rows}):
        own = [pair for row, pair in zip(rows, pairs, strict=True) if (row.source or "") == source]
        found.append(
            SourceTexts(
                source=source or "not given",
                n_texts=len(own),
                n_flagged=sum(whole.flagged for whole, _ in own),
                n_missed=sum(whole.flagged and not left.flagged for whole, left in own),
                n_left=sum(left.decided_after is not None for _, left in own),
            )
        )
    return tuple(found)


def _together(sources: Sequence[SourceTexts]) -> SourceTexts:
    return SourceTexts(
        source="all",
        n_texts=sum(each.n_texts for each in sources),
        n_flagged=sum(each.n_flagged for each in sources),
        n_missed=sum(each.n_missed for each in sources),
        n_left=sum(each.n_left for each in sources),
    )


def _missed(source: SourceTexts) -> tuple[str, str]:
    share = f" ({source.n_missed / source.n_flagged:.1%})" if source.n_flagged else ""
    return str(source.n_flagged), f"{source.n_missed}{share}"


REGIONS: Regions = {"early-mini": region("early-mini.json", EarlyResults, early_table)}


if __name__ == "__main__":
    main()
