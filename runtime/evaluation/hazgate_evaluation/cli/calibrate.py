"""`hazgate calibrate`: fit temperatures and thresholds of a bundle, write a policy file."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="Example: hazgate calibrate build/mini --data labelled.jsonl --out policy.toml"
)
@click.argument("bundle", type=_PATH)
@click.option(
    "--data", type=_PATH, required=True, help="Labelled texts, as for `hazgate evaluate`."
)
@click.option("--out", type=_PATH, required=True, help="The policy file; figures go next to it.")
@click.option(
    "--target-fpr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Flag at most this share of safe texts.  [default: 0.05]",
)
@click.option(
    "--target-recall",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Flag at least this share of unsafe texts.",
)
@click.option(
    "--level",
    "levels",
    multiple=True,
    help="A level beside the cascade whose labels get thresholds, too; rows carry its labels in a "
    "field of its name. May be repeated.",
)
@click.option("--variant", help="A variant of the bundle.  [default: the bundle's]")
def calibrate(
    bundle: Path,
    data: Path,
    out: Path,
    target_fpr: float | None,
    target_recall: float | None,
    levels: tuple[str, ...],
    variant: str | None,
) -> None:
    """Fit temperatures and thresholds of BUNDLE on labelled texts and write a policy file.

    The values are fitted on half of the groups; the printed figures are from the other half. The
    target holds for each label of a --level against the rest, too.
    """
    if target_fpr is not None and target_recall is not None:
        raise click.UsageError("give either --target-fpr or --target-recall")
    if len(set(levels)) < len(levels):
        raise click.UsageError("--level is given twice with the same name")
    if out.suffix != ".toml":
        raise click.UsageError("--out must end in .toml; .json and .png are written next to it")
    from hazgate_evaluation.calibration.command import write_policy
    from hazgate_evaluation.calibration.thresholds import ThresholdTarget

    if target_recall is not None:
        target = ThresholdTarget(kind="recall", value=target_recall)
    else:
        target = ThresholdTarget(kind="fpr", value=0.05 if target_fpr is None else target_fpr)
    click.echo(write_policy(bundle, data, out, target, variant, levels))
