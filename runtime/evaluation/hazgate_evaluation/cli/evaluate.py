"""`hazgate evaluate`: report how good a bundle is on labelled texts."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from hazgate.cli.progress import begin_tasks
from hazgate.documents.files import json_bytes, write_atomically
from hazgate.engine.options import EngineOptions
from hazgate.engine.processor import n_processors
from hazgate.errors import InputError
from hazgate.judge import open_gate

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  hazgate evaluate build/mini --data labelled.jsonl --report out/
  hazgate evaluate build/mini --data labelled.jsonl --report out/ --variant fp32 --variant int8
  hazgate evaluate build/old --data labelled.jsonl --report out/ --against build/new
  hazgate evaluate build/panel --data labelled.jsonl --report out/ --level injection
  hazgate evaluate build/pii --data marked.jsonl --report out/ --level entities"""
)
@click.argument("bundle", type=_PATH)
@click.option(
    "--data",
    type=_PATH,
    required=True,
    help="JSON Lines with text, level1, level2 if the bundle has it; optional lang, source, group, "
    "level1_ok, and the labels of other levels in fields named as they are. Of a token level: "
    "text, spans; optional context, group.",
)
@click.option(
    "--level",
    help="One level of BUNDLE to evaluate: by the labels in the field of its name, or by the spans "
    "of a token level. Only report.json is written.",
)
@click.option("--report", type=_PATH, required=True, help="Folder for report.html and report.json.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    help="Variant of BUNDLE; the first is compared with the others.  [default: the bundle's]",
)
@click.option("--against", type=_PATH, help="Another bundle with the same labels to compare.")
@click.option("--against-variant", help="Variant of that bundle.  [default: that bundle's]")
@click.option("--texts", type=click.IntRange(min=1), help="Number of rows to draw.  [default: all]")
@click.option("--threshold", type=float, help="Flag at this P(unsafe).  [default: each bundle's]")
@click.option(
    "--mutation-texts",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Rows to rewrite in each way; 0 skips robustness.",
)
@click.option(
    "--stream-texts",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Long rows to feed word by word; 0 skips growing texts.",
)
@click.option("--provider", default="cpu", show_default=True, help="The execution provider.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Runs at a time.  [default: one per processor]"
)
@click.option("--include-texts", is_flag=True, help="Show the texts of rows named in the report.")
@click.pass_context
def evaluate(
    context: click.Context,
    bundle: Path,
    data: Path,
    level: str | None,
    report: Path,
    variants: tuple[str, ...],
    against: Path | None,
    against_variant: str | None,
    texts: int | None,
    threshold: float | None,
    mutation_texts: int,
    stream_texts: int,
    provider: str,
    workers: int | None,
    include_texts: bool,
) -> None:
    """Evaluate BUNDLE on labelled texts and write report.html and report.json.

    Figures have 95 % intervals and are also given by language, source and length. Levels beside
    the cascade are measured where rows have fields of their names. Without --include-texts the
    report names rows by line and holds no text.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise click.UsageError(f"--threshold must be between 0 and 1, got {threshold}")
    if against_variant is not None and against is None:
        raise click.UsageError("--against-variant needs --against")
    if len(set(variants)) < len(variants):
        raise click.UsageError("--variant is given twice with the same name")
    if level is not None:
        _refuse_for_one_level(context)
        _evaluate_level(
            bundle,
            level,
            data,
            report,
            [
                EngineOptions(
                    variant=variant, providers=provider, workers=workers or n_processors()
                )
                for variant in variants or (None,)
            ],
            _command(context),
        )
        return
    # Imported here because they take seconds and most commands do not need them.
    from hazgate_evaluation import run
    from hazgate_evaluation.page import render
    from hazgate_evaluation.rows import read_labelled

    _make_folder(report)
    n_workers = workers or n_processors()
    asked = [(bundle, variant) for variant in variants or (None,)]
    if against is not None:
        asked.append((against, against_variant))
    gates = [
        open_gate(
            path,
            engine=EngineOptions(variant=variant, providers=provider, workers=n_workers),
            threshold=threshold,
        )
        for path, variant in asked
    ]
    dataset = run.sample_rows(read_labelled(data, run.check_same_labels(gates)), texts)
    options = run.EvaluationOptions(
        n_mutation_texts=mutation_texts,
        n_stream_texts=stream_texts,
        n_workers=n_workers,
        include_texts=include_texts,
        command=_command(context),
    )
    with begin_tasks() as begin:
        found = run.evaluate(gates, dataset, options, begin)
    write_atomically(report / "report.json", json_bytes(found))
    write_atomically(report / "report.html", render(found))
    click.echo(f"{report / 'report.html'} and report.json")


# Options about verdicts, or parts of a report that one level does not have.
_OF_VERDICTS = ("against", "texts", "threshold", "mutation_texts", "stream_texts", "include_texts")


def _refuse_for_one_level(context: click.Context) -> None:
    """Refuse options that have no meaning for one level.

    Raises:
        click.UsageError: names those that were given.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name in _OF_VERDICTS
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: not with --level; leave it out")


def _evaluate_level(
    bundle: Path,
    level: str,
    data: Path,
    report: Path,
    engines: Sequence[EngineOptions],
    command: str,
) -> None:
    """Evaluate one level of any kind, write report.json and print its figures."""
    from hazgate_evaluation.level_report import level_table
    from hazgate_evaluation.level_rows import read_level_rows
    from hazgate_evaluation.level_run import OpenLevel, evaluate_labels, open_level
    from hazgate_evaluation.span_report import span_table
    from hazgate_evaluation.span_rows import read_spans
    from hazgate_evaluation.span_run import check_same_types, evaluate_levels

    _make_folder(report)
    opened = [open_level(bundle, level, engine) for engine in engines]
    taggers = [each for each in opened if not isinstance(each, OpenLevel)]
    if taggers:
        marked = read_spans(data, check_same_types(taggers))
        with begin_tasks() as begin:
            spans = evaluate_levels(taggers, marked, command, begin)
        write_atomically(report / "report.json", json_bytes(spans))
        click.echo(span_table(spans.systems))
        return
    levels = [each for each in opened if isinstance(each, OpenLevel)]
    dataset = read_level_rows(data, level, levels[0].head)
    with begin_tasks() as begin:
        found = evaluate_labels(levels, dataset, command, begin)
    write_atomically(report / "report.json", json_bytes(found))
    click.echo(level_table(found.systems))


def _make_folder(folder: Path) -> None:
    """Create the report's folder before the work, so that a bad path fails early."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be a folder of reports: {error.strerror}; name another folder"
        ) from error


def _command(context: click.Context) -> str:
    """Return the command line as a shell would take it."""
    words = ["hazgate", "evaluate"]
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        values = value if isinstance(value, tuple) else (value,)
        for item in values:
            if isinstance(parameter, click.Option):
                words.append(parameter.opts[-1])
            if item is not True:
                words.append(str(item))
    return shlex.join(words)
