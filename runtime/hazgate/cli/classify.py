"""`hazgate classify`: texts in, one verdict per line out, in input order."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hazgate.cli import options
from hazgate.cli.progress import counted
from hazgate.cli.rows import Row, check_file, read_rows
from hazgate.cli.spans import print_spans
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError
from hazgate.gate import Gate
from hazgate.judge import (
    Answer,
    Judge,
    gate_with_hazards,
    no_verdicts,
    open_any,
    verdict_of,
)
from hazgate.judging.classification import Classification
from hazgate.judging.policy import Policy
from hazgate.judging.taxonomy import load_taxonomy
from hazgate.judging.verdict import LevelResult, Verdict
from hazgate.text.reading import LongTexts, Reading
from hazgate.text.views.names import NAMES
from hazgate.token_classifier import TokenClassifier

# Rows that are read, planned and answered together: bounds memory, keeps output flowing.
_CHUNK_ROWS = 256
_EXIT_FLAGGED = 1


@click.command(
    epilog="""\b
Examples:
  hazgate classify build/mini "How to hack into someone's email account"
  hazgate classify build/mini --file prompts.jsonl --pass-through > verdicts.jsonl
  cat prompts.jsonl | hazgate classify build/mini - --fail-on-flagged
  cat prompts.txt | hazgate classify build/mini - --plain"""
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, metavar="[TEXT... | -]")
@click.option(
    "--file", type=click.Path(path_type=Path), help='A file of JSON Lines: {"text": ...}.'
)
@click.option("--plain", is_flag=True, help="Take each line as a text by itself, not as JSON.")
@options.level
@options.variant
@click.option("--provider", default="cpu", show_default=True, help="Execution provider to run on.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads per run.  [default: all processors, divided among the workers]",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs at a time; one per processor reads a file fastest.",
)
@options.policy
@options.tenant
@click.option(
    "--shadow",
    type=click.Path(path_type=Path),
    help="A second policy file whose decision is only reported.",
)
@options.threshold
@options.long_texts
@click.option(
    "--taxonomy", help="Add `categories`: scores in another taxonomy, e.g. ailuminate, openai."
)
@click.option(
    "--all-levels", is_flag=True, help="Score the hazards of texts that are not flagged, too."
)
@click.option(
    "--levels",
    metavar="NAME,NAME | all",
    default="",
    help="Answer these levels beside the cascade, too; all: each of the bundle's, and the hazards "
    "of texts that are not flagged.",
)
@click.option(
    "--no-views", is_flag=True, help="Read texts as written only; undo no disguise beside them."
)
@click.option("--pass-through", is_flag=True, help="Copy a line's other fields to `input`.")
@click.option("--table", is_flag=True, help="Print a table instead of JSON Lines.")
@click.option("--fail-on-flagged", is_flag=True, help="Exit with 1 if any text was flagged.")
def classify(
    bundle: Path,
    texts: tuple[str, ...],
    file: Path | None,
    plain: bool,
    level: str | None,
    variant: str | None,
    provider: str,
    threads: int | None,
    workers: int,
    policy: Path | None,
    tenant: str | None,
    shadow: Path | None,
    threshold: float | None,
    long_texts: LongTexts,
    taxonomy: str | None,
    all_levels: bool,
    levels: str,
    no_views: bool,
    pass_through: bool,
    table: bool,
    fail_on_flagged: bool,
) -> None:
    """Print a verdict for each TEXT, each line of --file, or each line of standard input (-).

    One JSON object per line, in input order; `hazard` and `hazards` are null if Level 1 did not
    flag the text. A level that states no positive label gives labels and scores, and no verdict; a
    token level gives spans of the text.
    """
    if (file is not None) == bool(texts):
        raise click.UsageError("give exactly one of TEXT..., --file, or - for standard input")
    if threshold is not None and not 0 < threshold < 1:
        raise click.UsageError(f"--threshold must be between 0 and 1, got {threshold}")
    if policy is not None and threshold is not None:
        raise click.UsageError(
            "a policy has its own thresholds: give either --policy or --threshold"
        )
    if tenant is not None and policy is None:
        raise click.UsageError("--tenant needs a --policy that names it")
    if taxonomy is not None:
        load_taxonomy(taxonomy)  # A wrong name fails before anything is read.
    if plain and texts != ("-",) and file is None:
        raise click.UsageError("--plain is for the lines of --file or of standard input (-)")
    n_rows = check_file(file, plain=plain) if file else None
    judge = open_any(
        bundle,
        level=level,
        engine=EngineOptions(variant=variant, providers=provider, threads=threads, workers=workers),
        threshold=threshold,
        policy=Policy.load(policy) if policy else None,
        shadow=Policy.load(shadow) if shadow else None,
        reading=Reading(long_texts=long_texts, views=() if no_views else NAMES),
    )
    if isinstance(judge, TokenClassifier):
        _check_spans(
            judge,
            {
                "--taxonomy": taxonomy,
                "--tenant": tenant,
                "--levels": levels if levels != "all" else "",
                "--fail-on-flagged": fail_on_flagged,
            },
        )
        chunks = _chunks(_rows(texts, file, plain=plain))
        print_spans(judge, chunks, n_rows, pass_through=pass_through, table=table)
        return
    _check_verdicts(judge, fail_on_flagged=fail_on_flagged, taxonomy=taxonomy, tenant=tenant)
    beside = _levels_beside(judge, levels)
    flagged = False
    shown: list[tuple[Row, Answer]] = []
    with counted(n_rows, "classify") if n_rows else nullcontext() as advance:
        for chunk in _chunks(_rows(texts, file, plain=plain)):
            asked = judge.ask(
                [row.text for row in chunk],
                all_levels=all_levels or levels == "all",
                levels=beside,
                tenant=tenant,
            )
            answers: Sequence[Answer] = judge.answer(asked)
            for row, answer in zip(chunk, answers, strict=True):
                flagged = flagged or (isinstance(answer, Verdict) and answer.flagged)
                if table:
                    shown.append((row, answer))
                else:
                    click.echo(_line(row, answer, pass_through, taxonomy))
            if advance is not None:
                advance(len(chunk))
    if table:
        verdicts = [(row, each) for row, each in shown if isinstance(each, Verdict)]
        Console().print(_table(verdicts) if isinstance(judge, Gate) else _label_table(shown))
    if flagged and fail_on_flagged:
        sys.exit(_EXIT_FLAGGED)


def _check_verdicts(
    judge: Judge, *, fail_on_flagged: bool, taxonomy: str | None, tenant: str | None
) -> None:
    """Refuse options that have no meaning for what was opened.

    Raises:
        BundleError: an option needs verdicts, or hazards.
    """
    if taxonomy is not None:
        # A gate of one level names no hazards; this error says so.
        _ = gate_with_hazards(judge)
    if isinstance(judge, Gate):
        return
    if fail_on_flagged or tenant is not None:
        option = "--fail-on-flagged" if fail_on_flagged else "--tenant"
        raise BundleError(f"{no_verdicts(judge)}: leave {option} out")


def _check_spans(level: TokenClassifier, given: Mapping[str, object]) -> None:
    """Refuse options that have no meaning for a token level that stands alone.

    Raises:
        BundleError: names those that were given.
    """
    wrong = [option for option, value in given.items() if value]
    if wrong:
        raise BundleError(
            f"{level.level} is a token level, which gives spans of a text and flags none: leave "
            f"{', '.join(wrong)} out"
        )


def _levels_beside(judge: Judge, levels: str) -> tuple[str, ...]:
    """Return the names in --levels; of a level that stands alone, `all` is itself."""
    if levels == "all":
        return judge.names_beside if isinstance(judge, Gate) else ()
    return tuple(name.strip() for name in levels.split(",") if name.strip())


def _rows(texts: tuple[str, ...], file: Path | None, *, plain: bool) -> Iterator[Row]:
    if file is not None:
        with file.open("rb") as lines:
            yield from read_rows(lines, str(file), plain=plain)
    elif texts == ("-",):
        yield from read_rows(sys.stdin.buffer, "standard input", plain=plain)
    else:
        yield from (Row(text=text, rest={}) for text in texts)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, _CHUNK_ROWS)):
        yield chunk


def _line(row: Row, answer: Answer, pass_through: bool, taxonomy: str | None) -> str:
    data: dict[str, Any] = answer.to_dict()
    if taxonomy is not None:
        data["categories"] = verdict_of(answer).to(taxonomy)
    if pass_through:
        data["input"] = dict(row.rest)
    # ASCII: any terminal can print it, and a field with a lone surrogate survives.
    return json.dumps(data)


def _label_table(shown: list[tuple[Row, Answer]]) -> Table:
    """Return a table of the labels that hold, with their scores."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("text", overflow="fold")
    table.add_column("labels, scores", overflow="fold")
    for row, answer in shown:
        if isinstance(answer, Classification):
            held = ", ".join(f"{label} {answer.scores[label]:.3f}" for label in answer.labels)
            table.add_row(Text(" ".join(row.text.split())[:60]), Text(held or "none"))
    return table


def _table(shown: list[tuple[Row, Verdict]]) -> Table:
    """Return a table for 80 columns, so the tokens are shown only if some are unread."""
    has_policy = any(verdict.decision for _, verdict in shown)
    has_unread = any(verdict.truncated for _, verdict in shown)
    has_levels = any(verdict.levels for _, verdict in shown)
    found = "found, with its probability" if has_levels else "hazard, P(hazard)"
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("text", overflow="fold", min_width=24)
    for title in ("action" if has_policy else "flagged", "P(unsafe)", found):
        table.add_column(title, no_wrap=True)
    if has_unread:
        table.add_column("read", overflow="fold")
    for row, verdict in shown:
        flagged = "yes" if verdict.flagged else "no"
        hazard = ""
        if verdict.hazard is not None and verdict.hazards is not None:
            hazard = f"{verdict.hazard} {verdict.hazards[verdict.hazard]:.3f}"
        elif not verdict.understood:
            hazard = "not understood"
        elif verdict.language is not None:
            hazard = f"language {verdict.language}"
        cells = [
            verdict.decision.action if verdict.decision else flagged,
            f"{verdict.unsafe:.3f}",
            "\n".join(filter(None, [hazard, *_held(verdict.levels)])),
        ]
        if has_unread:
            cells.append(f"{verdict.tokens.read}/{verdict.tokens.total}")
        table.add_row(Text(" ".join(row.text.split())[:60]), *cells)
    return table


def _held(levels: Mapping[str, LevelResult]) -> Iterator[str]:
    """Yield a line for each level: the labels that hold, with their probabilities.

    Those of a token level are the types that it found, with the greatest score of a span.
    """
    for name, result in levels.items():
        held = ", ".join(f"{label} {result.scores[label]:.3f}" for label in result.labels)
        yield f"{name}: {held or 'none of its labels'}"
