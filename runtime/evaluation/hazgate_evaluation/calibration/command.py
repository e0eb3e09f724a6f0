"""The steps of `hazgate calibrate`: open, read, fit, write."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hazgate.cli.progress import counted
from hazgate.documents.files import json_bytes, write_atomically
from hazgate.engine.options import EngineOptions
from hazgate.engine.processor import n_processors
from hazgate.errors import InputError
from hazgate.judge import open_gate
from hazgate_evaluation.calibration.beside import check_levels_beside, check_rows_label
from hazgate_evaluation.calibration.plot import draw_reliability
from hazgate_evaluation.calibration.policy_file import policy_text
from hazgate_evaluation.calibration.report import markdown
from hazgate_evaluation.calibration.run import calibrate, check_hazard_head, check_level1_labels
from hazgate_evaluation.calibration.thresholds import ThresholdTarget
from hazgate_evaluation.report import DataFacts
from hazgate_evaluation.rows import LabelNames, read_labelled
from hazgate_evaluation.scores import score
from hazgate_evaluation.truth import check_both_classes, truth_of


def write_policy(
    bundle: Path,
    data: Path,
    out: Path,
    target: ThresholdTarget,
    variant: str | None,
    levels: Sequence[str] = (),
) -> str:
    """Write the policy `out`, and its figures next to it as .json and .png.

    Args:
        bundle: a bundle directory.
        data: labelled rows.
        out: the policy file.
        target: what the thresholds must keep.
        variant: of the bundle; None takes its default.
        levels: names of levels beside the cascade whose thresholds are chosen, too.

    Returns:
        The figures as Markdown tables.

    Raises:
        BundleError: the bundle or the variant cannot be served, or a level has no such thresholds.
        InputError: the rows cannot be read or are too few, or the target cannot be reached.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent} cannot be a folder: {error.strerror}") from error
    gate = open_gate(bundle, engine=EngineOptions(variant=variant, workers=n_processors()))
    beside = check_levels_beside(gate, levels)
    names = dataclasses.replace(LabelNames.of(gate), beside=beside)
    check_level1_labels(names.level1, names.positive)
    if gate.hazard_level is not None:
        check_hazard_head(gate.hazard_level.spec.activation)
    dataset = read_labelled(data, names)
    check_rows_label(dataset.rows, beside)
    truth = truth_of(dataset.rows, names)
    check_both_classes(truth)
    with counted(len(dataset.rows), f"score {gate.model.bundle} {gate.model.variant}") as advance:
        texts = [row.text for row in dataset.rows]
        scores = score(gate, texts, truth.has_hazard, advance, levels=list(beside))
    found = calibrate(
        truth,
        scores,
        names.level2,
        target,
        data=DataFacts.of(dataset, truth),
        model=gate.model,
        rows=dataset.rows,
        beside=beside,
    )
    # The policy comes last: once it exists, its figures do too.
    write_atomically(out.with_suffix(".png"), draw_reliability(found.level1, found.level2))
    write_atomically(out.with_suffix(".json"), json_bytes(found.report))
    write_atomically(out, policy_text(found.report).encode())
    return markdown(found.report)
