"""`python -m benchmarks.quality.dilution BUNDLE --data FILE`: what hides among harmless words.

The same texts are read with and without their sentences. What is found more stands beside what is
flagged wrongly, and beside the tokens read. Texts of several windows are read in close windows
either way.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from benchmarks.quality.rows import english_rows, row_options, spelt_options
from hazgate import Gate, Reading
from hazgate.engine.options import EngineOptions
from hazgate_evaluation.dilution import DILUTION_TOKENS, Dilution, measure_dilution
from hazgate_evaluation.estimates import Estimate, share
from hazgate_evaluation.robustness import RobustnessSample, choose_sample
from hazgate_evaluation.rows import LabelledRow, LabelNames
from hazgate_evaluation.scores import Scores, score, unsafe_scores
from hazgate_evaluation.truth import Truth, truth_of

_COMMAND = "python -m benchmarks.quality.dilution"
# Lengths at which tables part texts: the last is a window.
_LENGTHS = ((1, 26), (27, 40), (41, 60), (61, 90), (91, 126))


@dataclass(frozen=True, kw_only=True, slots=True)
class SafeTexts:
    """Safe texts of a range of lengths, read in one way: the share flagged, and tokens read.

    `read_per_token` is how often each token was read.
    """

    shortest_tokens: int
    longest_tokens: int
    n_texts: int
    flagged: Estimate | None
    read_per_token: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WayOfReading:
    """All figures of one way of reading."""

    dilution: Dilution
    safe: tuple[SafeTexts, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DilutionResults:
    """All that one run measured; `n_rows` of the file were used."""

    header: ResultHeader
    variant: str
    n_rows: int
    without_sentences: WayOfReading
    with_sentences: WayOfReading


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Read:
    """A gate, and its scores on the rows as they are."""

    gate: Gate
    scores: Scores

    @classmethod
    def of(cls, gate: Gate, rows: Sequence[LabelledRow]) -> "_Read":
        with_hazards = np.zeros(len(rows), dtype=np.bool_)
        scores = score(gate, [row.text for row in rows], with_hazards, lambda _: None)
        return cls(gate=gate, scores=scores)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        return np.asarray(self.scores.unsafe >= self.gate.threshold)

    def flags(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        return np.asarray(unsafe_scores(self.gate, texts, lambda _: None)[0] >= self.gate.threshold)


def dilution_table(results: DilutionResults) -> str:
    """Return both tables in Markdown."""
    ways = (results.without_sentences, results.with_sentences)
    found = [
        (
            str(n_tokens),
            *(_worst_found(way.dilution, n_tokens) for way in ways),
            *(_worst_flagged(way.dilution, n_tokens) for way in ways),
        )
        for n_tokens in DILUTION_TOKENS
    ]
    safe = [
        (
            f"{without.shortest_tokens} to {without.longest_tokens}",
            str(without.n_texts),
            _percent(without.flagged),
            _percent(with_them.flagged),
            f"{without.read_per_token:.2f}",
            f"{with_them.read_per_token:.2f}",
        )
        for without, with_them in zip(ways[0].safe, ways[1].safe, strict=True)
    ]
    sample = ways[0].dilution
    return "\n\n".join(
        (
            f"`{results.header.name}`, `{results.variant}`; {sample.n_unsafe} unsafe texts that "
            f"are flagged alone and {sample.n_safe} safe ones that are passed, of {results.n_rows} "
            "labelled rows, among other safe texts; in front, in the middle and behind: the worst "
            f"place counts. {results.header.origin}",
            table(
                (
                    "tokens around",
                    "found, without sentences",
                    "found, with sentences",
                    "newly flagged, without",
                    "newly flagged, with",
                ),
                found,
            ),
            "Safe texts as they are, and how often each of their tokens is read:",
            table(
                (
                    "tokens",
                    "texts",
                    "flagged, without sentences",
                    "flagged, with sentences",
                    "reads, without",
                    "reads, with",
                ),
                safe,
            ),
        )
    )


@click.command(epilog=f"Example: {_COMMAND} build/mini --data train.jsonl")
@click.argument("bundle", type=click.Path(path_type=Path))
@row_options
@click.option("--texts", type=click.IntRange(min=2), default=160, show_default=True)
@refusals()
def main(bundle: Path, data: Path, sources: tuple[str, ...], texts: int) -> None:
    """Put English texts of DATA among harmless ones, read with and without their sentences.

    Writes results/dilution-NAME.json.
    """
    engine = EngineOptions(variant="auto")
    gate = Gate.open(bundle, engine=engine)
    plain = Gate.open(bundle, engine=engine, reading=Reading(sentences_from_tokens=sys.maxsize))
    rows = english_rows(data, LabelNames.of(gate), sources)
    without, with_sentences = measure_both(plain, gate, rows, texts)
    name = gate.model.bundle
    results = DilutionResults(
        header=header(
            name,
            f"{_COMMAND} build/{name} {spelt_options(data, sources)} --texts {texts}",
            digest=gate.model.digest,
        ),
        variant=gate.model.variant,
        n_rows=len(rows),
        without_sentences=without,
        with_sentences=with_sentences,
    )
    publish(results, RESULTS / f"dilution-{name}.json", dilution_table)


def measure_both(
    without: Gate, with_sentences: Gate, rows: Sequence[LabelledRow], n_texts: int
) -> tuple[WayOfReading, WayOfReading]:
    """Measure both ways on one sample of rows that both judge rightly as they are.

    Args:
        without: reads no text by its sentences.
        with_sentences: reads texts as the bundle says.
        rows: labelled rows of both classes.
        n_texts: the most that are diluted, half of each class.

    Raises:
        BenchmarkError: fewer than two safe rows are passed in both ways.
    """
    truth = truth_of(rows, LabelNames.of(with_sentences))
    ways = [_Read.of(gate, rows) for gate in (without, with_sentences)]
    both, either = (np.logical_and, np.logical_or)
    flags = (ways[0].flagged, ways[1].flagged)
    # Wrong in one way is wrong: a row counts only where both are right.
    judged = np.where(truth.unsafe, both(*flags), either(*flags))
    sample = choose_sample(rows, truth, judged, n_texts)
    passed = np.flatnonzero(truth.known & ~truth.unsafe & ~judged & (ways[0].scores.n_tokens > 0))
    first, second = (_measure(way, rows, truth, sample, passed) for way in ways)
    return first, second


def _measure(
    read: _Read,
    rows: Sequence[LabelledRow],
    truth: Truth,
    sample: RobustnessSample,
    passed: NDArray[np.int64],
) -> WayOfReading:
    tokenizer = read.gate.level1.tokenizer
    dilution = measure_dilution(rows, sample, passed, read.flags, tokenizer.token_ends)
    if dilution is None:
        raise BenchmarkError("fewer than two safe rows are passed: take more rows")
    safe = truth.known & ~truth.unsafe
    return WayOfReading(
        dilution=dilution,
        safe=tuple(_safe_texts(read, rows, safe, bounds) for bounds in _LENGTHS),
    )


def _safe_texts(
    read: _Read, rows: Sequence[LabelledRow], safe: NDArray[np.bool_], bounds: tuple[int, int]
) -> SafeTexts:
    shortest, longest = bounds
    n_tokens = read.scores.n_tokens
    chosen = np.flatnonzero(safe & (n_tokens >= shortest) & (n_tokens <= longest))
    tokens = read.gate.level1.tokenizer.encode([rows[i].text for i in chosen.tolist()])
    n_read = sum(window.n_tokens for text in tokens for window in text.every_window)
    return SafeTexts(
        shortest_tokens=shortest,
        longest_tokens=longest,
        n_texts=len(chosen),
        flagged=share(read.flagged[chosen]),
        read_per_token=n_read / max(1, int(n_tokens[chosen].sum())),
    )


def _worst_found(dilution: Dilution, n_tokens: int) -> str:
    found = [each.still_flagged for each in dilution.figures if each.n_tokens == n_tokens]
    return _percent(min(filter(None, found), key=lambda share: share.value, default=None))


def _worst_flagged(dilution: Dilution, n_tokens: int) -> str:
    flagged = [each.newly_flagged for each in dilution.figures if each.n_tokens == n_tokens]
    return _percent(max(filter(None, flagged), key=lambda share: share.value, default=None))


def _percent(figure: Estimate | None) -> str:
    if figure is None:
        return "–"
    return f"{figure.value:.1%} ({figure.low:.1%} to {figure.high:.1%})"


REGIONS: Regions = {"dilution-mini": region("dilution-mini.json", DilutionResults, dilution_table)}


if __name__ == "__main__":
    main()
