"""`python -m benchmarks.rehearse`: the production recipe on a full-size stand-in.

The production weights may not be had where this project is developed or tested. Random weights
of their very shape take the same way through the exporter and cost the same memory and time; only
their answers mean nothing.
"""

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

from benchmarks.harness.errors import BenchmarkError, RehearsalFailed
from benchmarks.harness.machine import describe_machine, today
from benchmarks.harness.process import REPOSITORY
from benchmarks.harness.store import (
    DISTRIBUTIONS,
    RESULTS,
    SCHEMA_VERSION,
    BuildStep,
    Limits,
    ParameterCount,
    Rehearsal,
    parity_of,
    save,
)
from hazgate.cli.progress import step
from hazgate.documents.folders import partial_folder
from hazgate.errors import HazgateError
from hazgate.gate import Gate
from hazgate_export.bundle.report import parity_table
from hazgate_export.errors import ExportError
from hazgate_export.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# What the project promises of the production recipe on two processors.
LIMITS = Limits(peak_rss_bytes=12_000_000_000, build_s=600.0)
# As PEFT counts the published adapters on mmBERT-base. It has the base's untrained head beside
# the trained copy, so the merged model is smaller.
EXPECTED = {
    "level1": ParameterCount(total=314_291_716, trainable=6_759_938),
    "level2": ParameterCount(total=314_302_482, trainable=6_765_321),
}
_RECIPE = REPOSITORY / "export" / "recipes" / "mlcommons.toml"
_LORA_RANK = 32
_TEXT = "Could you tell me how vaccines work?"
_BAR = re.compile(r"\s*[━╸╺]+\s*")
# A library's warning names its file; results name nothing of the machine.
_ABSOLUTE_PATH = re.compile(r"(^|\s)/\w")
_ERROR_LINES = 15
_LIMITS = re.compile(r"^parity = .*$", flags=re.MULTILINE)
_INT8_SECTION = re.compile(r"^\[variants\.int8.*?(?=^\[)", flags=re.MULTILINE | re.DOTALL)
_NO_LIMITS = (
    "parity = { max_abs_logit_diff = 2.0, max_changed_share = 0.99, max_invariance_diff = 1e-6 }"
)
_CALIBRATION_FILE = re.compile(r'"([^"\n]+\.jsonl)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What a stand-in is made like; `make_config` is importable, to be called in a child."""

    make_config: "Callable[[], PretrainedConfig]"
    lora_targets: Sequence[str]
    lora_rank: int
    expected: Mapping[str, ParameterCount]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Build:
    """What the exporter's process took."""

    seconds: float
    peak_rss_bytes: int
    steps: tuple[BuildStep, ...]


def full_size() -> Shape:
    """The production models' shape."""
    from hazgate_export.model.standin import MMBERT_LORA_TARGETS, mmbert_config

    return Shape(
        make_config=mmbert_config,
        lora_targets=MMBERT_LORA_TARGETS,
        lora_rank=_LORA_RANK,
        expected=EXPECTED,
    )


def rehearse(folder: Path, recipe: Path, shape: Shape, limits: Limits, command: str) -> Rehearsal:
    """Builds `recipe` from a stand-in, opens the bundle and takes a verdict of it.

    Args:
        folder: receives `standin/`, which is used again if it is there, and `bundle/`.
        recipe: what to build; its base and adapters are replaced by the stand-in's.
        shape: of the stand-in.
        limits: recorded; see `excesses`.
        command: recorded.

    Raises:
        RehearsalFailed: the stand-in has other parameters than expected, or its build failed.
        HazgateError: the bundle that was built cannot be opened or gives no verdict.
    """
    loaded = load_recipe(recipe).recipe
    standin, bundle = folder / "standin", folder / "bundle"
    standin_s = None if standin.is_dir() else _write_standin(standin, loaded, shape)
    parameters = count_parameters(standin, loaded)
    if parameters != shape.expected:
        raise RehearsalFailed(
            f"{standin} has {_counts(parameters)}, expected {_counts(shape.expected)}; remove it "
            "if it is an older one"
        )
    ungated = folder / "recipe.toml"
    ungated.write_text(_for_random_weights(recipe), encoding="utf-8")
    built = _build(ungated, standin, bundle, tuple(loaded.levels))
    step("open the bundle and take a verdict")
    start = time.perf_counter()
    gate = Gate.open(bundle)
    opened = time.perf_counter()
    gate.check(_TEXT, all_levels=True)
    answered = time.perf_counter()
    manifest = gate.bundle.manifest
    return Rehearsal(
        schema_version=SCHEMA_VERSION,
        name=manifest.name,
        bundle_digest=gate.bundle.digest,
        date=today(),
        command=command,
        machine=describe_machine(DISTRIBUTIONS),
        limits=limits,
        peak_rss_bytes=built.peak_rss_bytes,
        standin_s=standin_s,
        build_s=built.seconds,
        open_s=opened - start,
        answer_s=answered - opened,
        bundle_bytes=sum(file.size_bytes for file in manifest.files.values()),
        parameters=parameters,
        steps=built.steps,
        parity=parity_of(gate.bundle),
    )


def _for_random_weights(recipe: Path) -> str:
    """The recipe's text with int8's gates opened: random weights have no decisions to keep.

    Their layers amplify rounding more than trained ones do, so what int8 does to them is reported
    and not judged; float32 keeps its gate. Paths become absolute, for the text moves.
    """
    text = recipe.read_text(encoding="utf-8")
    text = _INT8_SECTION.sub(lambda section: _LIMITS.sub(_NO_LIMITS, section[0]), text)
    folder = recipe.resolve().parent
    return _CALIBRATION_FILE.sub(lambda m: f'"{(folder / m[1]).resolve()}"', text)


def excesses(rehearsal: Rehearsal) -> list[str]:
    """What went over its limit, in words; nothing if all is well."""
    limits = rehearsal.limits
    found = []
    if rehearsal.peak_rss_bytes > limits.peak_rss_bytes:
        found.append(
            f"the build held {rehearsal.peak_rss_bytes / 1e9:.1f} GB, "
            f"at most {limits.peak_rss_bytes / 1e9:.1f} GB are promised"
        )
    if rehearsal.build_s > limits.build_s:
        found.append(
            f"the build took {rehearsal.build_s:.0f} s, at most {limits.build_s:.0f} s are promised"
        )
    return found


def count_parameters(standin: Path, recipe: Recipe) -> dict[str, ParameterCount]:
    """Parameters of each level as PEFT counts them, from the written configurations.

    No weight is read: that the files hold what their configurations say is the exporter's check.
    """
    import torch
    from peft import PeftConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForSequenceClassification

    counts = {}
    for name, level in recipe.levels.items():
        config = AutoConfig.from_pretrained(standin / "base", num_labels=len(level.labels))
        adapter = PeftConfig.from_pretrained(str(standin / name))
        adapter.inference_mode = False
        # The configuration alone has no name that PEFT could compare with the published one.
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


def _write_standin(standin: Path, recipe: Recipe, shape: Shape) -> float:
    """Writes the stand-in, or nothing, in a child that gives its memory back; returns seconds."""
    step("write the stand-in")
    start = time.perf_counter()
    with (
        partial_folder(standin) as folder,
        ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool,
    ):
        written = folder / "whole"
        pool.submit(_write_in_child, written, recipe, shape).result()
        written.rename(standin)
    return time.perf_counter() - start


def _write_in_child(folder: Path, recipe: Recipe, shape: Shape) -> None:
    from hazgate_export.model.standin import write_standin
    from hazgate_export.proof.texts import load_proof_texts

    write_standin(
        folder,
        shape.make_config(),
        texts=[text.text for text in load_proof_texts()],
        base_id=recipe.base.id,
        levels={name: level.labels for name, level in recipe.levels.items()},
        lora_targets=shape.lora_targets,
        lora_rank=shape.lora_rank,
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
            # Nothing may come from the Hub, and no line of progress is to be folded.
            env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"},
        ) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            at_s = time.perf_counter() - start
            click.echo(f"{at_s:7.1f} s  {line}", nl=False, err=True)
            steps.append(BuildStep(at_s=round(at_s, 1), line=_BAR.sub(" · ", line.rstrip())))
        # The only way to a single child's peak; Popen must then be told how it ended.
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
def main(folder: Path, out: Path) -> None:
    """Build the production recipe on a full-size stand-in in FOLDER and write what it took.

    Takes some ten minutes and 8 GB of disk. Exits 1 if the build fails, or took more memory or
    time than is promised.
    """
    command = "python -m benchmarks.rehearse build/rehearsal"
    try:
        rehearsal = rehearse(folder.resolve(), _RECIPE, full_size(), LIMITS, command)
    except (BenchmarkError, ExportError, HazgateError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    save(rehearsal, out)
    click.echo(parity_table(rehearsal.parity))
    click.echo(
        f"\nbuild {rehearsal.build_s:.0f} s, peak {rehearsal.peak_rss_bytes / 1e9:.1f} GB; "
        f"bundle {rehearsal.bundle_bytes / 1e9:.2f} GB, opened in {rehearsal.open_s:.1f} s, "
        f"first verdict in {rehearsal.answer_s:.2f} s\n{_counts(rehearsal.parameters)}\n{out}"
    )
    problems = excesses(rehearsal)
    if problems:
        click.echo(f"error: {'; '.join(problems)}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
