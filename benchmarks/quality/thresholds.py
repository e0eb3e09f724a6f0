"""`python -m benchmarks.quality.thresholds`: the figures of "Choosing thresholds", on unseen texts.

Rows of a labelled file that neither of mini's adapters was trained on are divided in two. On the
first part `hazgate calibrate` chooses a policy. On the second, which calibration never saw, a gate
under that policy is compared with the same gate at its bundle's threshold, and longer texts are
fed word by word to a watch.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.harness.command import publish, refusals
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.markdown import table
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.store import RESULTS, ResultHeader, header, read_document
from hazgate import Gate, Policy
from hazgate.cli.progress import counted
from hazgate.documents.files import write_atomically
from hazgate.engine.options import EngineOptions
from hazgate.engine.processor import n_processors
from hazgate_evaluation.calibration.command import write_policy
from hazgate_evaluation.calibration.report import CalibrationReport, markdown
from hazgate_evaluation.calibration.split import fit_half
from hazgate_evaluation.calibration.thresholds import ThresholdTarget
from hazgate_evaluation.estimates import Estimate, Resampling
from hazgate_evaluation.level1 import FlagFigures, flag_figures
from hazgate_evaluation.plots import STYLES, draw_grid, streams_figure, style
from hazgate_evaluation.report import DataFacts
from hazgate_evaluation.rows import Dataset, LabelNames, read_labelled
from hazgate_evaluation.scores import score
from hazgate_evaluation.streams import MIN_TOKENS, Streams, choose_streams, measure_streams
from hazgate_evaluation.truth import Truth, truth_of
from hazgate_export.finetune.data import select, split
from hazgate_export.finetune.rows import read_rows
from hazgate_export.recipe_file import load_recipe

_RECIPE = REPOSITORY / "export" / "recipes" / "mini.toml"
_TRAINING = REPOSITORY / "export" / "training"
_FOLDER = REPOSITORY / "build" / "thresholds"
_LANGUAGE = "en"
# Most rows of one label from one source; else one set of tweets would decide.
_SOURCE_CAP = 150
_SEED = 20263
_N_STREAM_TEXTS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Operated:
    """A gate on the second part, under one rule."""

    rule: str
    flags: FlagFigures


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdResults:
    """All that one run measured; `sources` counts the rows of both parts.

    `streams` are of the second part, at the bundle's threshold.
    """

    header: ResultHeader
    target: ThresholdTarget
    sources: Mapping[str, int]
    calibration: CalibrationReport
    check: DataFacts
    operated: tuple[Operated, ...]
    streams: Streams


def unseen_rows(data: Path) -> list[dict[str, object]]:
    """Return English rows of groups and texts that neither adapter learned from, capped."""
    recipe = load_recipe(_RECIPE).recipe
    files = {
        "level1": (data, _TRAINING / "contrast.jsonl"),
        "level2": (data, _TRAINING / "contrast.jsonl", _TRAINING / "hazards.jsonl"),
    }
    groups: set[str] = set()
    texts: set[str] = set()
    for name, level in recipe.levels.items():
        if level.finetune is None:
            raise BenchmarkError(
                f"{_RECIPE.name}: level {name} has no table finetune, which says what it learned "
                "from; add it"
            )
        rules, seed = level.finetune.data, level.finetune.seed
        rows = select(read_rows(files[name], rules, level.labels), rules, seed=seed).rows
        trained = split(rows, rules, seed=seed, hold_out=False).train
        groups |= {row.group for row in trained}
        texts |= {row.text for row in trained}
    kept: list[dict[str, object]] = []
    n_taken: dict[tuple[object, object], int] = {}
    lines = data.read_text(encoding="utf-8").splitlines()
    for i in np.random.default_rng(_SEED).permutation(len(lines)).tolist():
        row: dict[str, object] = json.loads(lines[i])
        if row["lang"] != _LANGUAGE or row["group"] in groups or row["text"] in texts:
            continue
        key = (row["source"], row["level1"])
        n_taken[key] = n_taken.get(key, 0) + 1
        if n_taken[key] <= _SOURCE_CAP:
            kept.append(row)
    return kept


def divide(rows: Sequence[dict[str, object]]) -> tuple[Path, Path]:
    """Write the rows as two files that share no group, under build/."""
    _, group = np.unique([str(row["group"]) for row in rows], return_inverse=True)
    first = fit_half(group.astype(np.int64), _SEED)
    _FOLDER.mkdir(parents=True, exist_ok=True)
    files = (_FOLDER / "calibrate.jsonl", _FOLDER / "check.jsonl")
    for file, part in zip(files, (first, ~first), strict=True):
        chosen = [rows[i] for i in np.flatnonzero(part).tolist()]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen)
        write_atomically(file, text.encode())
    return files


def operate(
    gate: Gate, rule: str, dataset: Dataset, truth: Truth
) -> tuple[Operated, NDArray[np.float64]]:
    """Return figures of the gate's flags on rows that count, and their P(unsafe)."""
    texts = [row.text for row in dataset.rows]
    flagged, unsafe = [], []
    with counted(len(texts), rule) as advance:
        for start in range(0, len(texts), 256):
            verdicts = gate.check_many(texts[start : start + 256])
            # A gateway acts on `flagged`; a policy in loose mode passes controversial texts.
            flagged += [verdict.flagged for verdict in verdicts]
            unsafe += [verdict.unsafe for verdict in verdicts]
            advance(len(verdicts))
    known = truth.known
    figures = flag_figures(
        truth.unsafe[known],
        np.array(flagged)[known],
        Resampling(group=truth.take(known).group),
    )
    return Operated(rule=rule, flags=figures), np.array(unsafe)[known]


def draw_curve(
    unsafe: NDArray[np.bool_],
    scores: NDArray[np.float64],
    target: ThresholdTarget,
    threshold: float,
) -> bytes:
    """Draw recall and false-positive rate over the threshold, the chosen one marked; PNG."""
    thresholds = np.linspace(0, 1, 401)
    with style():
        figure = Figure(figsize=(7.2, 4.0), dpi=150, layout="constrained")
        axes = figure.subplots()
        for name, part, (colour, _) in (
            ("recall of unsafe texts", unsafe, STYLES[0]),
            ("false-positive rate", ~unsafe, STYLES[1]),
        ):
            shares = (scores[part][:, None] >= thresholds).mean(axis=0)
            axes.plot(thresholds, shares, color=colour, label=name)
        axes.axvline(threshold, color="#222222", linewidth=1, label=f"chosen: {threshold:.3f}")
        axes.axhline(target.value, color="#888888", linestyle=":", linewidth=1, label=str(target))
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="threshold on the calibrated P(unsafe)")
        axes.set_ylabel("share flagged")
        draw_grid(axes)
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()


def measure_thresholds(
    bundle: Path, data: Path, target: ThresholdTarget, command: str
) -> ThresholdResults:
    """Choose a policy on one part of the unseen rows, and check it on the other.

    Raises:
        HazgateError: the bundle or the rows cannot be used.
    """
    rows = unseen_rows(data)
    calibrate_file, check_file = divide(rows)
    policy_file = _FOLDER / "policy.toml"
    write_policy(bundle, calibrate_file, policy_file, target, None)
    calibration = read_document(CalibrationReport, policy_file.with_suffix(".json"))
    plain = Gate.open(bundle, engine=EngineOptions(workers=n_processors()))
    dataset = read_labelled(check_file, LabelNames.of(plain))
    truth = truth_of(dataset.rows, LabelNames.of(plain))
    before, _ = operate(plain, f"the bundle's threshold, {plain.threshold:g}", dataset, truth)
    policed = plain.with_policy(Policy.load(policy_file))
    after, calibrated = operate(policed, f"the policy, {target}", dataset, truth)
    threshold = calibration.unsafe.threshold
    if threshold is None:
        raise BenchmarkError(f"expected a threshold that keeps {target}, found none in {data.name}")
    curve = draw_curve(truth.unsafe[truth.known], calibrated, target, threshold)
    write_atomically(RESULTS / "thresholds-curve.png", curve)
    write_atomically(
        RESULTS / "thresholds-reliability.png", policy_file.with_suffix(".png").read_bytes()
    )
    streams = watch_texts(plain, dataset, truth)
    write_atomically(RESULTS / "streams-mini.svg", streams_figure(streams))
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row["source"])] = counts.get(str(row["source"]), 0) + 1
    return ThresholdResults(
        header=header(plain.bundle.manifest.name, command, digest=plain.bundle.digest),
        target=target,
        sources=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        calibration=calibration,
        check=DataFacts.of(dataset, truth),
        operated=(before, after),
        streams=streams,
    )


def watch_texts(gate: Gate, dataset: Dataset, truth: Truth) -> Streams:
    """Feed long texts of both classes to watches."""
    texts = [row.text for row in dataset.rows]
    with counted(len(texts), "read as a whole") as advance:
        scores = score(gate, texts, np.zeros(len(texts), dtype=np.bool_), advance)
    chosen = choose_streams(truth, scores, _N_STREAM_TEXTS)
    with counted(sum(map(len, chosen)), "watch texts grow") as advance:
        return measure_streams(gate, dataset.rows, chosen, scores, n_processors(), advance)


def thresholds_table(results: ThresholdResults) -> str:
    """Return the rules in Markdown, one per row."""
    head = ("on texts that neither training nor calibration saw", "false-positive rate", "recall")
    body = [
        (each.rule, _estimate(each.flags.false_positive_rate), _estimate(each.flags.recall))
        for each in results.operated
    ]
    check = results.check
    return (
        f"`{results.calibration.bundle}` {results.calibration.variant}; "
        f"{check.n_level1} texts, {check.n_unsafe} of them unsafe, of "
        f"{len(results.sources)} public sources; 95 % intervals over groups. "
        f"{results.header.origin}\n\n{table(head, body)}"
    )


def streams_table(results: ThresholdResults) -> str:
    """Return both classes of growing texts, in Markdown."""
    head = (
        f"texts of {MIN_TOKENS} tokens and more, fed word by word",
        "texts",
        "flagged as a whole",
        "stopped while growing",
        "of a stopped text had come: median (quartiles)",
        "tokens read for each of the text",
    )
    streams = results.streams
    body = []
    for name, part in (("unsafe", streams.unsafe), ("safe", streams.safe)):
        read = part.read_when_stopped
        quartiles = "–"
        if read:
            low, middle, high = (f"{100 * q:.0f}" for q in np.quantile(read, (0.25, 0.5, 0.75)))
            quartiles = f"{middle} % ({low}–{high} %)"
        cost = part.tokens_read_per_token
        body.append(
            (
                name,
                str(part.n_texts),
                _estimate(part.flagged_whole),
                _estimate(part.stopped),
                quartiles,
                "–" if cost is None else f"{cost:.1f}",
            )
        )
    return (
        f"A check every {streams.stride_tokens} tokens. {results.header.origin}"
        f"\n\n{table(head, body)}"
    )


def calibration_table(results: ThresholdResults) -> str:
    """Return what `hazgate calibrate` printed."""
    return markdown(results.calibration)


def _estimate(figure: Estimate | None) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}–{figure.high:.3f}]" if figure else "–"


@click.command(epilog="Example: python -m benchmarks.quality.thresholds --data train.jsonl")
@click.option(
    "--data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Labelled rows that mini's adapters were trained from.",
)
@click.option("--target-fpr", type=click.FloatRange(0, 1, min_open=True), default=0.05)
@refusals()
def thresholds(data: Path, target_fpr: float) -> None:
    """Measure `build/mini` under a calibrated policy; write results and plots."""
    target = ThresholdTarget(kind="fpr", value=target_fpr)
    command = (
        f"python -m benchmarks.quality.thresholds --data {data.name} --target-fpr {target_fpr:g}"
    )
    results = measure_thresholds(REPOSITORY / "build" / "mini", data, target, command)
    publish(results, RESULTS / "thresholds-mini.json", thresholds_table)


REGIONS: Regions = {
    name: region("thresholds-mini.json", ThresholdResults, show)
    for name, show in (
        ("thresholds-mini", thresholds_table),
        ("streams-mini", streams_table),
        ("calibration-mini", calibration_table),
    )
}


if __name__ == "__main__":
    thresholds()
