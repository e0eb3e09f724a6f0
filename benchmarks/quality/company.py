"""`python -m benchmarks.quality.company BUNDLE --data FILE`: what hides among harmless words.

The same texts are read once, as before texts of one window were read from close by, and as the
bundle says. What is found more stands beside what is flagged wrongly, and beside the tokens read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header
from hazgate import Gate, Reading
from hazgate.engine.options import EngineOptions
from hazgate_evaluation.company import COMPANY_TOKENS, Company, measure_company
from hazgate_evaluation.estimates import Estimate, share
from hazgate_evaluation.robustness import choose_sample
from hazgate_evaluation.rows import Dataset, LabelNames, read_labelled
from hazgate_evaluation.scores import score, unsafe_scores
from hazgate_evaluation.truth import Truth, truth_of

_COMMAND = "python -m benchmarks.quality.company"
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

    company: Company
    safe: tuple[SafeTexts, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CompanyResults:
    """All that one run measured; `n_rows` of the file were used."""

    header: ResultHeader
    variant: str
    n_rows: int
    once: WayOfReading
    close: WayOfReading


def company_table(results: CompanyResults) -> str:
    """Return both tables in Markdown."""
    once, close = results.once, results.close
    found = [
        (
            str(n_tokens),
            *(_worst_found(way.company, n_tokens) for way in (once, close)),
            *(_worst_flagged(way.company, n_tokens) for way in (once, close)),
        )
        for n_tokens in COMPANY_TOKENS
    ]
    safe = [
        (
            f"{one.shortest_tokens} to {one.longest_tokens}",
            str(one.n_texts),
            _percent(one.flagged),
            _percent(other.flagged),
            f"{one.read_per_token:.2f}",
            f"{other.read_per_token:.2f}",
        )
        for one, other in zip(once.safe, close.safe, strict=True)
    ]
    return "\n\n".join(
        (
            f"`{results.header.name}`, `{results.variant}`; {once.company.n_unsafe} unsafe texts "
            f"that are flagged alone and {once.company.n_safe} safe ones that are passed, of "
            f"{results.n_rows} labelled rows, among other safe texts; in front, in the middle and "
            f"behind: the worst place counts. {results.header.origin}",
            table(
                (
                    "tokens around",
                    "found, read once",
                    "found, also from close by",
                    "newly flagged, read once",
                    "newly flagged, also from close by",
                ),
                found,
            ),
            "Safe texts as they are, and how often each of their tokens is read:",
            table(
                (
                    "tokens",
                    "texts",
                    "flagged, read once",
                    "flagged, also from close by",
                    "reads, once",
                    "reads, also from close by",
                ),
                safe,
            ),
        )
    )


@click.command(epilog=f"Example: {_COMMAND} build/mini --data train.jsonl")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Labelled rows, as for `hazgate evaluate`.",
)
@click.option("--language", default="en", show_default=True, help="Rows of this language.")
@click.option("--source", "sources", multiple=True, help="Rows of these sources.  [default: all]")
@click.option("--texts", type=click.IntRange(min=2), default=160, show_default=True)
@click.option("--variant", default="auto", show_default=True, help="Variant to open.")
@refusals()
def main(
    bundle: Path, data: Path, language: str, sources: tuple[str, ...], texts: int, variant: str
) -> None:
    """Put texts of DATA among harmless ones, read once and as BUNDLE says.

    Writes results/company-NAME.json.
    """
    engine = EngineOptions(variant=variant)
    gate = Gate.open(bundle, engine=engine)
    window = gate.level1.spec.tokenizer.window_tokens
    once = Gate.open(bundle, engine=engine, reading=Reading(sentences_from_tokens=window + 1))
    dataset = _rows(read_labelled(data, LabelNames.of(gate)), language, sources)
    truth = truth_of(dataset.rows, LabelNames.of(gate))
    read_once = _measure(once, dataset, truth, texts)
    name = gate.model.bundle
    chosen = "".join(f" --source {source}" for source in sources)
    results = CompanyResults(
        header=header(
            name,
            f"{_COMMAND} build/{name} --data {data.name} --texts {texts}{chosen}",
            digest=gate.model.digest,
        ),
        variant=gate.model.variant,
        n_rows=len(dataset.rows),
        once=read_once,
        close=_measure(gate, dataset, truth, texts),
    )
    publish(results, RESULTS / f"company-{name}.json", company_table)


def _measure(gate: Gate, dataset: Dataset, truth: Truth, n_texts: int) -> WayOfReading:
    """Measure one way of reading, on texts that it judges rightly alone.

    Raises:
        BenchmarkError: too few rows are judged rightly.
    """
    rows = dataset.rows
    texts = [row.text for row in rows]
    scores = score(gate, texts, np.zeros(len(rows), dtype=np.bool_), lambda _: None)
    flagged = scores.unsafe >= gate.threshold
    safe = truth.known & ~truth.unsafe
    passed = safe & ~flagged & (scores.n_tokens > 0)

    def flags(texts: Sequence[str]) -> np.ndarray:
        return unsafe_scores(gate, texts, lambda _: None)[0] >= gate.threshold

    company = measure_company(
        rows,
        choose_sample(rows, truth, flagged, n_texts),
        np.flatnonzero(passed),
        flags,
        gate.level1.tokenizer.token_ends,
    )
    if company is None:
        raise BenchmarkError(f"{dataset.name}: fewer than two safe rows are passed")
    return WayOfReading(
        company=company,
        safe=tuple(
            _safe_texts(gate, texts, flagged, safe, scores.n_tokens, bounds) for bounds in _LENGTHS
        ),
    )


def _safe_texts(
    gate: Gate,
    texts: Sequence[str],
    flagged: np.ndarray,
    safe: np.ndarray,
    n_tokens: np.ndarray,
    bounds: tuple[int, int],
) -> SafeTexts:
    shortest, longest = bounds
    chosen = np.flatnonzero(safe & (n_tokens >= shortest) & (n_tokens <= longest))
    tokens = gate.level1.tokenizer.encode([texts[i] for i in chosen.tolist()])
    n_read = sum(window.n_tokens for text in tokens for window in text.every_window)
    return SafeTexts(
        shortest_tokens=shortest,
        longest_tokens=longest,
        n_texts=len(chosen),
        flagged=share(flagged[chosen]),
        read_per_token=n_read / max(1, int(n_tokens[chosen].sum())),
    )


def _rows(dataset: Dataset, language: str, sources: Sequence[str]) -> Dataset:
    """Return the rows of a language, and of the sources if any are named.

    Raises:
        BenchmarkError: there is none.
    """
    rows = tuple(
        row
        for row in dataset.rows
        if row.lang == language and (not sources or row.source in sources)
    )
    if not rows:
        raise BenchmarkError(f"{dataset.name}: no row is of {language} and of these sources")
    return Dataset(
        rows=rows,
        name=dataset.name,
        sha256=dataset.sha256,
        n_rows_in_file=dataset.n_rows_in_file,
    )


def _worst_found(company: Company, n_tokens: int) -> str:
    found = [each.still_flagged for each in company.figures if each.n_tokens == n_tokens]
    return _percent(min(filter(None, found), key=lambda share: share.value, default=None))


def _worst_flagged(company: Company, n_tokens: int) -> str:
    flagged = [each.newly_flagged for each in company.figures if each.n_tokens == n_tokens]
    return _percent(max(filter(None, flagged), key=lambda share: share.value, default=None))


def _percent(figure: Estimate | None) -> str:
    if figure is None:
        return "–"
    return f"{figure.value:.1%} ({figure.low:.1%} to {figure.high:.1%})"


REGIONS: Regions = {"company-mini": region("company-mini.json", CompanyResults, company_table)}


if __name__ == "__main__":
    main()
