"""`hazgate corpus`: judge files of texts into Parquet, here or on a Ray cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from rich.console import Console
from rich.table import Table

from hazgate.bundle.hub import is_hub_reference
from hazgate.cli import options
from hazgate.cli.extras import requires
from hazgate.cli.progress import bar
from hazgate.judging.policy import Policy
from hazgate.text.reading import LongTexts

if TYPE_CHECKING:
    from hazgate_scale.corpus.run import Summary

_LIBRARIES = ("ray", "pyarrow", "fsspec", "pandas")


@click.command(
    epilog="""\b
Examples:
  hazgate corpus build/mini --input prompts.jsonl --output labelled
  hazgate corpus build/mini --input 's3://bucket/*.parquet' --text-column prompt \\
      --output s3://bucket/clean --mode drop --address auto
Run the same command again to continue an interrupted run."""
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="PATH",
    help="File, folder, pattern or URI of JSON Lines, Parquet or text; repeatable.",
)
@click.option("--output", required=True, metavar="FOLDER", help="Path or URI of a new folder.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["jsonl", "parquet", "text"]),
    help="Format of every input.  [default: by its name]",
)
@click.option("--text-column", default="text", show_default=True, help="Column to judge.")
@click.option("--id-column", help="Column holding the row's id.")
@click.option(
    "--columns",
    type=click.Choice(["all", "text", "id"]),
    default="all",
    show_default=True,
    help="Input columns to repeat: all, the text and id, or the id alone.",
)
@click.option(
    "--mode",
    type=click.Choice(["annotate", "keep", "drop"]),
    default="annotate",
    show_default=True,
    help="Write every row, keep flagged rows, or drop them.",
)
@options.variant
@options.threshold
@options.policy
@options.tenant
@options.long_texts
@click.option("--all-levels", is_flag=True, help="Also score hazards of texts not flagged.")
@click.option(
    "--levels",
    metavar="NAME,NAME",
    default="",
    help="Levels beside the cascade whose results are written, too.",
)
@click.option(
    "--max-row-bytes",
    type=click.IntRange(min=1),
    default=1 << 20,
    show_default=True,
    help="Larger rows become dead letters.",
)
@click.option("--skip-bad-files", is_flag=True, help="Skip unreadable files instead of failing.")
@click.option(
    "--sample", type=click.IntRange(min=0), default=0, help="Rows to put in _review.jsonl."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of the sample.")
@click.option(
    "--shard-mb",
    type=click.IntRange(min=1),
    help="Megabytes of a file per shard.  [default: 1/4 to 64, by the input's size]",
)
@click.option("--address", help="Address of a Ray cluster, or auto.  [default: this machine only]")
@click.option(
    "--actors", type=click.IntRange(min=1), help="Engines.  [default: processors / --threads]"
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads of an engine; 1 gives the most texts a second.",
)
@click.option(
    "--memory-mb",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Memory that Ray reserves for an engine.",
)
def corpus(
    bundle: Path,
    inputs: tuple[str, ...],
    output: str,
    format_: Literal["jsonl", "parquet", "text"] | None,
    text_column: str,
    id_column: str | None,
    columns: Literal["all", "text", "id"],
    mode: Literal["annotate", "keep", "drop"],
    variant: str | None,
    threshold: float | None,
    policy: Path | None,
    tenant: str | None,
    long_texts: LongTexts,
    all_levels: bool,
    levels: str,
    max_row_bytes: int,
    skip_bad_files: bool,
    sample: int,
    seed: int,
    shard_mb: int | None,
    address: str | None,
    actors: int | None,
    threads: int,
    memory_mb: int,
) -> None:
    """Judge every row of a corpus with BUNDLE and write it to Parquet exactly once.

    Parts are complete or absent; _SUCCESS means that all exist. Unreadable rows go to
    _dead_letters, by position and never with their text. On a cluster, BUNDLE must be the same
    path on every node, and every node must reach inputs and output.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise click.UsageError(f"--threshold must be between 0 and 1, got {threshold}")
    if policy is not None and threshold is not None:
        raise click.UsageError("a policy has its own thresholds: give --policy or --threshold")
    if tenant is not None and policy is None:
        raise click.UsageError("--tenant needs a --policy that names it")
    if id_column == text_column:
        raise click.UsageError("--id-column and --text-column are the same")
    if columns == "id" and id_column is None:
        raise click.UsageError("--columns id needs an --id-column")
    with requires("corpus", {"hazgate-scale[corpus]": _LIBRARIES}):
        from hazgate_scale.corpus.cluster import ActorPlacement
        from hazgate_scale.corpus.options import CorpusOptions
        from hazgate_scale.corpus.run import run_corpus
    asked = CorpusOptions(
        format=format_,
        text_column=text_column,
        id_column=id_column,
        columns=columns,
        mode=mode,
        max_row_bytes=max_row_bytes,
        skip_bad_files=skip_bad_files,
        n_sample=sample,
        seed=seed,
        threshold=threshold,
        tenant=tenant,
        long_texts=long_texts,
        all_levels=all_levels,
        levels=tuple(name.strip() for name in levels.split(",") if name.strip()),
    )
    placement = ActorPlacement(
        address=address, n_actors=actors, threads=threads, memory_bytes=memory_mb << 20
    )
    with bar() as progress:
        task = progress.add_task("shards", total=None, rate="")

        def on_progress(n_done: int, n_shards: int, n_rows: int) -> None:
            elapsed_s = progress.tasks[0].elapsed or 0.0
            rate = f"{n_rows / elapsed_s:.0f} rows/s" if n_rows and elapsed_s else ""
            progress.update(task, completed=n_done, total=n_shards, rate=rate)

        summary = run_corpus(
            # A reference means the same on every node, and each downloads it for itself.
            str(bundle if is_hub_reference(bundle) else bundle.absolute()),
            inputs,
            output,
            asked,
            placement,
            variant=variant,
            policy=Policy.load(policy) if policy else None,
            shard_bytes=shard_mb << 20 if shard_mb else None,
            on_progress=on_progress,
        )
    Console().print(_table(summary))


def _table(summary: "Summary") -> Table:
    tally = summary.tally
    table = Table("", "", title=summary.output, show_header=False)
    rate = "–" if summary.rows_per_s is None else f"{summary.rows_per_s:.0f}"
    rows = {
        "rows in": tally.rows_in,
        "rows out": tally.rows_out,
        "flagged": tally.flagged,
        **{f"  {name}": n for name, n in tally.hazards.items()},
        "truncated": tally.truncated,
        "not understood": tally.not_understood,
        "language unvouched": tally.unvouched,
        "tokens read": f"{tally.tokens_read} of {tally.tokens_total}",
        "dead letters": sum(tally.errors.values()),
        **{f"  {name}": n for name, n in tally.errors.items()},
        **{f"script {name}": n for name, n in tally.scripts.items()},
        "seconds": f"{summary.elapsed_s:.1f}",
        "rows a second": rate,
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table
