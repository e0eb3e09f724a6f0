"""`hazgate calibrate`: fit temperatures, thresholds or early exits of a bundle, write a file."""

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="Example: hazgate calibrate build/mini --data labelled.jsonl --out policy.toml"
)
@click.argument("bundle", type=_PATH)
@click.option("--data", type=_PATH, help="Labelled texts, as for `hazgate evaluate`.")
@click.option(
    "--exits",
    type=_PATH,
    help="Texts without labels, one JSON object with `text` a line: fit the early exits of a "
    "variant on them instead, and write a probe file.",
)
@click.option(
    "--out", type=_PATH, required=True, help="The policy file; figures go next to it. Or probes."
)
@click.option(
    "--threshold",
    "thresholds",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    multiple=True,
    help="With --exits: P(unsafe) at which texts are flagged. May be repeated.  [default: those of "
    "the bundle's claim]",
)
@click.option("--policy", type=_PATH, help="With --exits: a policy whose thresholds are added.")
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
    data: Path | None,
    exits: Path | None,
    out: Path,
    thresholds: tuple[float, ...],
    policy: Path | None,
    target_fpr: float | None,
    target_recall: float | None,
    levels: tuple[str, ...],
    variant: str | None,
) -> None:
    """Fit temperatures and thresholds of BUNDLE on labelled texts and write a policy file.

    The values are fitted on half of the groups; the printed figures are from the other half. The
    target holds for each label of a --level against the rest, too.

    With --exits: fit early exits on texts of one's own traffic, prove on the other half that they
    miss no more than the bundle claims, and write a probe file for `hazgate serve --exits`.
    """
    if (data is None) == (exits is None):
        raise click.UsageError("give either --data or --exits")
    if exits is not None:
        if target_fpr is not None or target_recall is not None or levels:
            raise click.UsageError("--target-fpr, --target-recall and --level go with --data")
        if out.suffix != ".json":
            raise click.UsageError("--out must end in .json with --exits")
        from hazgate_evaluation.calibration.exit_command import write_exits

        click.echo(write_exits(bundle, exits, out, variant, thresholds, policy))
        return
    if thresholds or policy is not None:
        raise click.UsageError("--threshold and --policy go with --exits")
    assert data is not None
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
