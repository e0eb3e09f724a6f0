"""`python -m benchmarks.rehearse`: the production recipe on a full-size stand-in.

The production weights may be unavailable where this project is developed or tested. Random
weights of the same shape take the same way through the exporter and cost the same memory and
time; only their answers mean nothing.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import click
import tomlkit

from benchmarks.harness.command import fail, publish, refusals
from benchmarks.harness.errors import RehearsalFailed
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.regions import Regions, region
from benchmarks.harness.stopwatch import seconds_of
from benchmarks.harness.store import RESULTS, ResultHeader, header, parity_of
from benchmarks.harness.texts import proof_texts
from benchmarks.vocabulary import fetch_vocabulary
from hazgate.cli.progress import step
from hazgate.documents.folders import partial_folder
from hazgate.engine.processor import n_processors
from hazgate.gate import Gate
from hazgate_export.bundle.report import parity_table
from hazgate_export.parity import Parity
from hazgate_export.recipe import Recipe
from hazgate_export.recipe_file import load_recipe

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_RECIPE = REPOSITORY / "export" / "recipes" / "mlcommons.toml"
_LORA_RANK = 32
_TEXT = "Could you tell me how vaccines work?"
_BAR = re.compile(r"\s*[━╸╺]+\s*")
# A library's warning names its file; results must not name a machine's paths.
_ABSOLUTE_PATH = re.compile(r"(^|\s)/\w")
_ERROR_LINES = 15
_WIDE_LIMITS = {
    "max_abs_logit_diff": 2.0,
    "max_changed_share": 0.99,
    "max_invariance_diff": 1e-6,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterCount:
    """A level's parameters as PEFT counts them: all, and those that training would change."""

    total: int
    trainable: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildLimits:
    """Limits of the rehearsal's build."""

    peak_rss_bytes: int
    build_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildStep:
    """A line of progress that the exporter printed, and its time in seconds from the start."""

    at_s: float
    line: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """All that one run measured.

    `standin_s` is None if the stand-in existed already. `bundle_bytes` is the whole bundle's
    size, `open_s` the time to open it and load both levels, `answer_s` that of the first verdict.
    """

    header: ResultHeader
    limits: BuildLimits
    peak_rss_bytes: int
    standin_s: float | None
    build_s: float
    open_s: float
    answer_s: float
    bundle_bytes: int
    parameters: Mapping[str, ParameterCount]
    steps: tuple[BuildStep, ...]
    parity: tuple[Parity, ...]


# The project's promise for the production recipe on two processors.
LIMITS = BuildLimits(peak_rss_bytes=12_000_000_000, build_s=600.0)
# As PEFT counts the published adapters on mmBERT-base. It counts the base's untrained head and
# its trained copy, so the merged model is smaller.
EXPECTED = {
    "level1": ParameterCount(total=314_291_716, trainable=6_759_938),
    "level2": ParameterCount(total=314_302_482, trainable=6_765_321),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StandinShape:
    """The shape of a stand-in; `make_config` is importable, to be called in a child.

    `with_vocabulary` gives it Gemma's tokenizer of 256,000 tokens, where npm can fetch it.
    """

    make_config: "Callable[[], PretrainedConfig]"
    lora_targets: Sequence[str]
    lora_rank: int
    expected: Mapping[str, ParameterCount]
    with_vocabulary: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Build:
    """Figures of the exporter's process."""

    seconds: float
    peak_rss_bytes: int
    steps: tuple[BuildStep, ...]


def full_size() -> StandinShape:
    """Return the production models' shape."""
    from hazgate_export.model.standin import MMBERT_LORA_TARGETS, mmbert_config

    return StandinShape(
        make_config=mmbert_config,
        lora_targets=MMBERT_LORA_TARGETS,
        lora_rank=_LORA_RANK,
        expected=EXPECTED,
        with_vocabulary=True,
    )


def rehearse(
    folder: Path, recipe: Path, shape: StandinShape, limits: BuildLimits, command: str
) -> Rehearsal:
    """Build `recipe` from a stand-in, open the bundle and take a verdict.

    Args:
        folder: receives `standin/`, which is used again if it exists, and `bundle/`.
        recipe: the recipe to build; the stand-in's base and adapters replace its own.
        shape: the stand-in's.
        limits: recorded; see `excesses`.
        command: recorded.

    Raises:
        RehearsalFailed: the stand-in has other parameters than expected, or its build failed.
        HazgateError: the bundle cannot be opened or gives no verdict.
    """
    loaded = load_recipe(recipe).recipe
    standin, bundle = folder / "standin", folder / "bundle"
    vocabulary = fetch_vocabulary(folder / "vocabulary") if shape.with_vocabulary else None
    standin_s = None if standin.is_dir() else _write_standin(standin, loaded, shape, vocabulary)
    if standin_s is None:
        _refuse_other_vocabulary(standin, vocabulary)
    parameters = count_parameters(standin, loaded)
    if parameters != shape.expected:
        raise RehearsalFailed(
            f"{standin} has {_counts(parameters)}, expected {_counts(shape.expected)}; remove it "
            "if it is an older one"
        )
    widened = folder / "recipe.toml"
    widened.write_text(for_random_weights(recipe), encoding="utf-8")
    built = _build(widened, standin, bundle, tuple(loaded.levels))
    step("open the bundle and take a verdict")
    start = time.perf_counter()
    gate = Gate.open(bundle)
    open_s = time.perf_counter() - start
    answer_s = seconds_of(lambda: gate.check(_TEXT, all_levels=True))
    manifest = gate.bundle.manifest
    return Rehearsal(
        header=header(manifest.name, command, digest=gate.bundle.digest, threads=n_processors()),
        limits=limits,
        peak_rss_bytes=built.peak_rss_bytes,
        standin_s=standin_s,
        build_s=built.seconds,
        open_s=open_s,
        answer_s=answer_s,
        bundle_bytes=sum(file.size_bytes for file in manifest.files.values()),
        parameters=parameters,
        steps=built.steps,
        parity=parity_of(gate.bundle),
    )


def _refuse_other_vocabulary(standin: Path, vocabulary: Path | None) -> None:
    """Refuse a stand-in that an earlier run wrote with another tokenizer."""
    if vocabulary is None:
        return
    ids = [
        len(json.loads(file.read_text(encoding="utf-8"))["model"]["vocab"])
        for file in (standin / "base" / "tokenizer.json", vocabulary)
    ]
    if ids[0] != ids[1]:
        raise RehearsalFailed(
            f"{standin} has a tokenizer of {ids[0]:,} tokens, expected {ids[1]:,}; remove it: it "
            "is an older one"
        )


def for_random_weights(recipe: Path) -> str:
    """Return the recipe's text with int8's parity limits widened.

    Random weights have no decisions to keep, and their layers amplify rounding more than trained
    ones do, so int8's differences are reported and not judged; float32 keeps its limits. Paths
    become absolute, because the text is written into another folder.
    """
    document = tomlkit.parse(recipe.read_text(encoding="utf-8")).unwrap()
    for variant in document["variants"].values():
        if variant["precision"] == "int8":
            variant["parity"] = _WIDE_LIMITS
    activations = document.get("int8_activations", {})
    if "files" in activations:
        folder = recipe.resolve().parent
        activations["files"] = [str((folder / file).resolve()) for file in activations["files"]]
    return tomlkit.dumps(document)


def excesses(rehearsal: Rehearsal) -> list[str]:
    """Return each limit that was exceeded, in words."""
    limits = rehearsal.limits
    found = []
    if rehearsal.peak_rss_bytes > limits.peak_rss_bytes:
        found.append(
            f"the build held {rehearsal.peak_rss_bytes / 1e9:.1f} GB; "
            f"at most {limits.peak_rss_bytes / 1e9:.1f} GB are promised"
        )
    if rehearsal.build_s > limits.build_s:
        found.append(
            f"the build took {rehearsal.build_s:.0f} s; at most {limits.build_s:.0f} s are promised"
        )
    return found


def count_parameters(standin: Path, recipe: Recipe) -> dict[str, ParameterCount]:
    """Count parameters of each level as PEFT does, from the written configurations.

    No weight is read; the exporter checks that the files match their configurations.
    """
    import torch
    from peft import PeftConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForSequenceClassification

    counts = {}
    for name, level in recipe.levels.items():
        config = AutoConfig.from_pretrained(standin / "base", num_labels=len(level.labels))
        adapter = PeftConfig.from_pretrained(str(standin / name))
        adapter.inference_mode = False
        # PEFT would compare this name with the published one, and the configuration has none.
        adapter.base_model_name_or_path = None
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
            trainable, total = get_peft_model(model, adapter).get_nb_trainable_parameters()
        counts[name] = ParameterCount(total=total, trainable=trainable)
    return counts


def _counts(parameters: Mapping[str, ParameterCount]) -> str:
    return ", ".join(
        f"{name} {count.total:,} parameters, {count.trainable:,} trainable"
        for name, count in parameters.items()
    )


def _write_standin(
    standin: Path, recipe: Recipe, shape: StandinShape, vocabulary: Path | None
) -> float:
    """Write the stand-in, or nothing, in a child that gives its memory back; return seconds."""
    step("write the stand-in")
    start = time.perf_counter()
    with (
        partial_folder(standin) as folder,
        ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool,
    ):
        written = folder / "whole"
        pool.submit(_write_in_child, written, recipe, shape, vocabulary).result()
        written.rename(standin)
    return time.perf_counter() - start


def _write_in_child(
    folder: Path, recipe: Recipe, shape: StandinShape, vocabulary: Path | None
) -> None:
    from hazgate_export.model.standin import write_standin

    write_standin(
        folder,
        shape.make_config(),
        texts=proof_texts(),
        base_id=recipe.base.id,
        levels={name: level.labels for name, level in recipe.levels.items()},
        lora_targets=shape.lora_targets,
        lora_rank=shape.lora_rank,
        tokenizer_file=vocabulary,
    )


def _build(recipe: Path, standin: Path, bundle: Path, levels: Sequence[str]) -> _Build:
    shutil.rmtree(bundle, ignore_errors=True)
    arguments = [str(recipe), "--out", str(bundle), "--base", str(standin / "base")]
    for level in levels:
        arguments += ["--adapter", f"{level}={standin / level}"]
    start = time.perf_counter()
    steps: list[BuildStep] = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
        subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "hazgate_export", "build", *arguments],
            stdout=printed,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            # Nothing may come from the Hub, and no line of progress may be wrapped.
            env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
        ) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            at_s = time.perf_counter() - start
            click.echo(f"{at_s:7.1f} s  {line}", nl=False, err=True)
            steps.append(BuildStep(at_s=round(at_s, 1), line=_BAR.sub(" · ", line.rstrip())))
        # Nothing else reads one child's peak; Popen cannot learn then how the child ended.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode != 0:
            printed.seek(0)
            last = "\n".join(item.line for item in steps[-_ERROR_LINES:])
            raise RehearsalFailed(
                f"the build ended with exit code {process.returncode} after {seconds:.0f} s:\n"
                f"{last}\n{printed.read()}"
            )
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if platform.system() == "Darwin" else 1024
    return _Build(
        seconds=seconds,
        peak_rss_bytes=usage.ru_maxrss * unit,
        steps=tuple(item for item in steps if item.line and not _ABSOLUTE_PATH.search(item.line)),
    )


@click.command(epilog="Example: python -m benchmarks.rehearse build/rehearsal")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=RESULTS / "rehearsal.json",
    help="[default: benchmarks/results/rehearsal.json]",
)
@refusals()
def main(folder: Path, out: Path) -> None:
    """Build the production recipe on a full-size stand-in in FOLDER and write the figures.

    Takes six to thirty minutes and 8 GB of disk. Exits 1 if the build fails, or takes more memory
    or time than is promised; the results are written all the same.
    """
    command = "python -m benchmarks.rehearse build/rehearsal"
    rehearsal = rehearse(folder.resolve(), _RECIPE, full_size(), LIMITS, command)
    publish(rehearsal, out, rehearsal_text)
    problems = excesses(rehearsal)
    if problems:
        fail("; ".join(problems))


def rehearsal_text(rehearsal: Rehearsal) -> str:
    """Return the parity table, and the build's figures in two lines."""
    return (
        f"{rehearsal_parity(rehearsal)}\n\n"
        f"build {rehearsal.build_s:.0f} s, peak {rehearsal.peak_rss_bytes / 1e9:.1f} GB; "
        f"bundle {rehearsal.bundle_bytes / 1e9:.2f} GB, opened in {rehearsal.open_s:.1f} s, "
        f"first verdict in {rehearsal.answer_s:.2f} s\n{_counts(rehearsal.parameters)}"
    )


def rehearsal_parity(rehearsal: Rehearsal) -> str:
    """Return the exporter's parity table."""
    return parity_table(rehearsal.parity)


REGIONS: Regions = {"parity-rehearsal": region("rehearsal.json", Rehearsal, rehearsal_parity)}


if __name__ == "__main__":
    main()
