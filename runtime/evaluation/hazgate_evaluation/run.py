"""Evaluation of open gates on labelled rows."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from hazgate import __version__
from hazgate.errors import BundleError
from hazgate.gate import Gate
from hazgate_evaluation.cascade import cascade_right, share_right
from hazgate_evaluation.comparison import Judged, SystemComparison, compare
from hazgate_evaluation.dilution import Dilution, measure_dilution, n_diluted_texts
from hazgate_evaluation.estimates import SEED, Resampling
from hazgate_evaluation.label_errors import suspected_labels
from hazgate_evaluation.label_figures import (
    LabelledLevelFigures,
    label_matrix,
    labelled_level_figures,
)
from hazgate_evaluation.level1 import level1_figures
from hazgate_evaluation.level2 import level2_figures
from hazgate_evaluation.mutations import MUTATIONS
from hazgate_evaluation.regret import regret_figures
from hazgate_evaluation.report import (
    SCHEMA_VERSION,
    DataFacts,
    EvaluatedSystem,
    LabelErrors,
    Report,
)
from hazgate_evaluation.robustness import (
    Robustness,
    RobustnessSample,
    choose_sample,
    measure_robustness,
)
from hazgate_evaluation.rows import Dataset, LabelledRow, LabelNames
from hazgate_evaluation.scores import Scores, score, unsafe_scores
from hazgate_evaluation.slices import slices_of
from hazgate_evaluation.streams import Streams, choose_streams, measure_streams
from hazgate_evaluation.translations import translation_figures
from hazgate_evaluation.truth import Truth, check_both_classes, truth_of

# Called with the name and number of texts of each step; returns the step's progress callback.
Begin = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """Options of an evaluation.

    `n_mutation_texts` rows are rewritten in each way and `n_stream_texts` rows are fed word by
    word; 0 skips that part. `n_workers` runs happen at a time. `include_texts` adds the texts of
    the rows that the report names. `command` is the command line, for the report.
    """

    n_mutation_texts: int
    n_stream_texts: int
    n_workers: int
    include_texts: bool
    command: str


def sample_rows(dataset: Dataset, n_rows: int | None) -> Dataset:
    """Draw `n_rows` rows with a fixed seed and keep them in the file's order."""
    if n_rows is None or n_rows >= len(dataset.rows):
        return dataset
    drawn = np.random.default_rng(SEED).permutation(len(dataset.rows))[:n_rows]
    return Dataset(
        rows=tuple(dataset.rows[i] for i in np.sort(drawn).tolist()),
        name=dataset.name,
        sha256=dataset.sha256,
        n_rows_in_file=dataset.n_rows_in_file,
    )


def check_same_labels(gates: Sequence[Gate]) -> LabelNames:
    """Return the labels that all gates share, and the levels beside the cascade that all have.

    Raises:
        BundleError: the labels differ, so no file can have labels for all gates.
    """
    first, *others = (LabelNames.of(gate) for gate in gates)
    for gate, names in zip(gates[1:], others, strict=True):
        if names != first:
            raise BundleError(
                f"{gates[0].model.bundle} and {gate.model.bundle} cannot be compared, "
                f"their labels differ: {first} and {names}"
            )
    shared = {
        name: head
        for name, head in first.beside.items()
        if all(names.beside.get(name) == head for names in others)
    }
    return dataclasses.replace(first, beside=shared)


def evaluate(
    gates: Sequence[Gate], dataset: Dataset, options: EvaluationOptions, begin: Begin
) -> Report:
    """Evaluate every gate on the same rows; the first is the baseline of comparisons.

    Args:
        gates: open gates with the same labels.
        dataset: rows with those labels.
        options: see EvaluationOptions.
        begin: called at the start of each step.

    Raises:
        InputError: the rows are not of both classes, or one cannot be read.
        InferenceError: a model failed.
    """
    names = check_same_labels(gates)
    truth = truth_of(dataset.rows, names)
    check_both_classes(truth)
    numbers = np.array([row.number for row in dataset.rows], dtype=np.int64)
    labelled = [name for name in names.beside if any(name in row.levels for row in dataset.rows)]
    judged, systems = [], []
    for gate in gates:
        texts = [row.text for row in dataset.rows]
        advance = begin(f"score {gate.model.bundle} {gate.model.variant}", len(texts))
        start = time.perf_counter()
        scores = score(gate, texts, truth.has_hazard, advance, levels=labelled)
        seconds = time.perf_counter() - start
        judged.append(Judged(scores=scores, threshold=gate.threshold))
        systems.append(_figures(gate, dataset.rows, truth, scores, seconds, options.n_workers))
    labels = names.level2
    comparisons = tuple(
        compare(
            judged,
            0,
            other,
            truth,
            numbers=numbers,
            names=[_name(row) for row in dataset.rows],
            labels=labels,
        )
        for other in range(1, len(judged))
    )
    experts = None
    if len(judged) > 1:
        predictions = np.column_stack([one.scores.unsafe for one in judged])[truth.known]
        experts = regret_figures(predictions, truth.unsafe[truth.known])
    label_errors = _label_errors(truth, judged[0].scores, names, numbers)
    robustness = dilution = None
    if options.n_mutation_texts:
        sample = choose_sample(dataset.rows, truth, judged[0].flagged, options.n_mutation_texts)
        robustness = _robustness(gates[0], dataset.rows, sample, begin)
        dilution = _dilution(gates[0], dataset.rows, sample, truth, judged[0], begin)
    streams = None
    if options.n_stream_texts:
        streams = _streams(gates[0], dataset.rows, truth, judged[0].scores, options, begin)
    return Report(
        schema_version=SCHEMA_VERSION,
        hazgate_version=__version__,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=options.command,
        data=DataFacts.of(dataset, truth),
        systems=tuple(systems),
        comparisons=comparisons,
        experts=experts,
        label_errors=label_errors,
        robustness=robustness,
        dilution=dilution,
        translations=translation_figures(dataset.rows, truth, judged[0].flagged),
        streams=streams,
        texts=_named_texts(dataset.rows, comparisons, label_errors)
        if options.include_texts
        else None,
    )


def _figures(
    gate: Gate,
    rows: Sequence[LabelledRow],
    truth: Truth,
    scores: Scores,
    seconds: float,
    n_workers: int,
) -> EvaluatedSystem:
    known, named = truth.known, truth.has_hazard
    of_known = Resampling(group=truth.take(known).group)
    right = cascade_right(truth, scores, gate.threshold)
    return EvaluatedSystem(
        bundle=gate.model.bundle,
        digest=gate.model.digest,
        variant=gate.model.variant,
        provider=gate.model.provider,
        threshold=gate.threshold,
        n_workers=n_workers,
        seconds=seconds,
        level1=level1_figures(truth.unsafe[known], scores.unsafe[known], gate.threshold, of_known),
        level2=level2_figures(
            truth.hazard[named],
            scores.hazards[named],
            gate.hazards,
            Resampling(group=truth.take(named).group),
        ),
        cascade=share_right(right[known], of_known),
        slices=slices_of(rows, truth, scores, gate.threshold),
        levels={name: _level_figures(gate, name, rows, truth, scores) for name in scores.levels},
    )


def _level_figures(
    gate: Gate, name: str, rows: Sequence[LabelledRow], truth: Truth, scores: Scores
) -> LabelledLevelFigures:
    """Return the figures of a level beside the cascade, of which at least one row has labels."""
    known = np.array([name in row.levels for row in rows], dtype=np.bool_)
    labels = gate.beside[name].labels
    return labelled_level_figures(
        label_matrix([row.levels[name] for row in rows if name in row.levels], labels),
        scores.levels[name].holds[known],
        labels,
        Resampling(group=truth.take(known).group),
    )


def _name(row: LabelledRow) -> str | None:
    """Name the expected label of a row."""
    return row.level2 or row.level1


def _label_errors(
    truth: Truth, scores: Scores, names: LabelNames, numbers: np.ndarray
) -> LabelErrors:
    known, named = truth.known, truth.has_hazard
    binary = np.column_stack([1 - scores.unsafe, scores.unsafe])[known]
    return LabelErrors(
        level1=suspected_labels(
            truth.unsafe[known].astype(np.int64),
            binary,
            (f"not {names.positive}", names.positive),
            numbers[known],
        ),
        level2=suspected_labels(
            truth.hazard[named], scores.hazards[named], names.level2, numbers[named]
        ),
    )


def _robustness(
    gate: Gate, rows: Sequence[LabelledRow], sample: RobustnessSample, begin: Begin
) -> Robustness:
    n_texts = len(sample.unsafe) + len(sample.safe)
    advance = begin("rewritten texts", n_texts * len(MUTATIONS))

    def flags(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        with_views, as_written = unsafe_scores(gate, texts, advance)
        return with_views >= gate.threshold, as_written >= gate.threshold

    return measure_robustness(rows, sample, flags)


def _dilution(
    gate: Gate,
    rows: Sequence[LabelledRow],
    sample: RobustnessSample,
    truth: Truth,
    judged: Judged,
    begin: Begin,
) -> Dilution | None:
    passed = truth.known & ~truth.unsafe & ~judged.flagged & (judged.scores.n_tokens > 0)
    advance = begin("diluted texts", n_diluted_texts(sample))

    def flags(texts: Sequence[str]) -> np.ndarray:
        return unsafe_scores(gate, texts, advance)[0] >= gate.threshold

    return measure_dilution(
        rows, sample, np.flatnonzero(passed), flags, gate.level1.tokenizer.token_ends
    )


def _streams(
    gate: Gate,
    rows: Sequence[LabelledRow],
    truth: Truth,
    scores: Scores,
    options: EvaluationOptions,
    begin: Begin,
) -> Streams | None:
    chosen = choose_streams(truth, scores, options.n_stream_texts)
    n_texts = sum(map(len, chosen))
    if not n_texts:
        return None
    advance = begin("growing texts", n_texts)
    return measure_streams(gate, rows, chosen, scores, options.n_workers, advance)


def _named_texts(
    rows: Sequence[LabelledRow], comparisons: Sequence[SystemComparison], errors: LabelErrors
) -> dict[str, str]:
    named = {change.row for comparison in comparisons for change in comparison.changed}
    named |= {suspect.row for suspect in (*errors.level1, *errors.level2)}
    return {str(row.number): row.text for row in rows if row.number in named}
