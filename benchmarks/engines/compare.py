"""The comparison of engines: one process each, rounds interleaved, figures collected."""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoConfig, PretrainedConfig

from benchmarks.engines import forms
from benchmarks.engines.messages import Memory, Ready, Request, Setup
from benchmarks.engines.results import (
    EngineComparison,
    EngineFigures,
    EngineQuality,
    EngineRound,
    ModelShape,
    WorkloadOfEngines,
)
from benchmarks.engines.systems import REFERENCE, EngineSpec
from benchmarks.engines.workloads import SEED, Workload, padded_share
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.machine import describe_machine, today
from benchmarks.harness.messages import Logits, Timed
from benchmarks.harness.process import REPOSITORY, Worker, run_once, start_worker
from benchmarks.harness.store import DISTRIBUTIONS, SCHEMA_VERSION
from benchmarks.harness.turns import plan_turns
from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import VariantSpec
from hazgate.cli.progress import step, track
from hazgate.text.tokenization import Tokenizer
from hazgate_export.proof.texts import load_proof_texts

PEERS = ("openvino", "nncf", "optimum-onnx")
# Calls of a turn: as many as fit in so many seconds.
_TURN_S = 0.5
_MAX_CALLS = 20
# A portable graph's attention takes memory quadratic in the length.
_MAX_PORTABLE_TOKENS = 2048
# Tracing every length anew, a compiled module would be measured compiling.
_MAX_COMPILED_TOKENS = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One level in two forms: a merged model's directory and the bundle made of it."""

    name: str
    level: str
    merged: Path
    bundle: Bundle
    forms: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    worker: Worker
    ready: Ready


def compare_engines(
    subject: Subject,
    workloads: Sequence[Workload],
    *,
    rounds: int,
    threads: int,
    compile_too: bool,
    command: str,
) -> EngineComparison:
    """Measures every engine on the same ids.

    An engine that cannot be loaded, or dies, is recorded as failed; the others go on.

    Args:
        subject: what they run.
        workloads: what they are given.
        rounds: how often each engine runs each workload.
        threads: what each engine may use.
        compile_too: also measure torch.compile, which needs a C++ compiler and minutes.
        command: what a reader types to repeat it; recorded.
    """
    cases = _cases(subject)
    _write_forms(subject, cases)
    specs = engines_of(subject, threads=threads, compile_too=compile_too)
    config = AutoConfig.from_pretrained(subject.merged, local_files_only=True)
    step("measure the peak of the machine's matrix kernels")
    peaks = [_peak(threads)]
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        loaded: dict[str, _Loaded] = {}
        for spec in track(specs, "load engines"):
            setup = Setup(
                engine=spec,
                threads=threads,
                vocab_size=config.vocab_size,
                workloads=tuple(workloads),
                cases=cases,
            )
            try:
                worker = stack.enter_context(
                    start_worker(spec.name, ["-m", "benchmarks.engines.worker"], threads=threads)
                )
                loaded[spec.name] = _Loaded(worker=worker, ready=worker.ask(setup, Ready))
            except WorkerFailed as error:
                failures[spec.name] = str(error)[:600]
        logits = {
            name: np.array(item.worker.ask(Request(action="logits"), Logits).rows, dtype=np.float32)
            for name, item in track(list(loaded.items()), "compare answers")
        }
        measured = _run(loaded, specs, workloads, rounds)
        memory = {
            name: item.worker.ask(Request(action="memory"), Memory) for name, item in loaded.items()
        }
    peaks.append(_peak(threads))
    return EngineComparison(
        schema_version=SCHEMA_VERSION,
        name=subject.name,
        level=subject.level,
        bundle_digest=subject.bundle.digest,
        date=today(),
        command=command,
        machine=describe_machine((*DISTRIBUTIONS, *PEERS)),
        threads=threads,
        shape=shape_of(config),
        peak={kind: max(peak[kind] for peak in peaks) for kind in peaks[0]},
        workloads=tuple(
            WorkloadOfEngines(
                name=w.name,
                kind=w.kind,
                n_texts=w.n_texts,
                tokens=w.tokens,
                padded_share=padded_share(w),
            )
            for w in workloads
        ),
        engines=tuple(
            EngineFigures(
                name=spec.name,
                title=spec.title,
                is_int8=spec.is_int8,
                size_bytes=spec.size_bytes,
                load_s=loaded[spec.name].ready.load_s if spec.name in loaded else None,
                loaded_rss_bytes=loaded[spec.name].ready.rss_bytes if spec.name in loaded else None,
                peak_rss_bytes=memory[spec.name].peak_bytes if spec.name in memory else None,
                quality=_quality(logits, spec.name),
                failure=failures.get(spec.name),
            )
            for spec in specs
        ),
        rounds=measured,
    )


def engines_of(subject: Subject, *, threads: int, compile_too: bool) -> list[EngineSpec]:
    """PyTorch first, then its peers, then the authored variants of the bundle.

    The latter once with all threads for each text, and once with a worker for each thread.
    """
    folder = subject.forms

    def spec(name: str, title: str, kind: str, file: Path, *, is_int8: bool) -> EngineSpec:
        parts = file.glob("*.safetensors") if file.is_dir() else _parts(file)
        size_bytes = sum(part.stat().st_size for part in parts)
        return EngineSpec(
            name=name,
            title=title,
            kind=kind,  # type: ignore[arg-type]
            file=str(file),
            is_int8=is_int8,
            size_bytes=size_bytes,
            workers=1,
        )

    level = subject.bundle.manifest.levels[subject.level]

    def ours(name: str, variant: VariantSpec, workers: int) -> EngineSpec:
        several = workers > 1
        return EngineSpec(
            name=f"hazgate-{name}" + "-workers" * several,
            title=f"hazgate {name}" + f", {workers} workers" * several,
            kind="hazgate-fused" if variant.kind == "fused" else "hazgate",
            file=str(subject.bundle.file(variant.graph)),
            is_int8=variant.precision == "int8",
            size_bytes=sum(
                subject.bundle.manifest.files[name].size_bytes
                for name in (variant.graph, *variant.data)
            ),
            workers=workers,
        )

    own = {n: v for n, v in level.variants.items() if v.kind != "portable"}
    compiled = [
        spec("pytorch-compile", "torch.compile", "pytorch-compile", subject.merged, is_int8=False)
    ]
    portable = folder / forms.PORTABLE
    static = folder / forms.OPENVINO_STATIC
    return [
        spec(REFERENCE, "PyTorch", "pytorch", subject.merged, is_int8=False),
        *(compiled if compile_too else []),
        spec("optimum", "Optimum, ONNX Runtime", "onnxruntime", portable, is_int8=False),
        spec("openvino", "OpenVINO", "openvino", portable, is_int8=False),
        spec(
            "ort-dynamic",
            "ONNX Runtime dynamic int8",
            "onnxruntime",
            folder / forms.DYNAMIC,
            is_int8=True,
        ),
        spec(
            "ort-dynamic-reduced",
            "ONNX Runtime dynamic int8, 7-bit weights",
            "onnxruntime",
            folder / forms.DYNAMIC_REDUCED,
            is_int8=True,
        ),
        spec(
            "openvino-weights",
            "OpenVINO int8 weights",
            "openvino",
            folder / forms.OPENVINO_WEIGHTS,
            is_int8=True,
        ),
        spec("openvino-static", "OpenVINO int8 (NNCF)", "openvino", static, is_int8=True),
        *(ours(name, variant, 1) for name, variant in own.items()),
        *(ours(name, variant, threads) for name, variant in own.items() if threads > 1),
    ]


def shape_of(config: PretrainedConfig) -> ModelShape:
    """What a text costs in a model of this configuration.

    Raises:
        ValueError: a family that is not benchmarked.
    """
    hidden, inner, n_layers = (
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
    )
    if config.model_type == "modernbert":
        n_global = -(-n_layers // config.global_attn_every_n_layers)
        return ModelShape(
            macs_per_token=n_layers * (4 * hidden * hidden + 3 * hidden * inner),
            hidden=hidden,
            n_global=n_global,
            n_local=n_layers - n_global,
            reach=config.local_attention // 2,
        )
    if config.model_type == "bert":
        return ModelShape(
            macs_per_token=n_layers * (4 * hidden * hidden + 2 * hidden * inner),
            hidden=hidden,
            n_global=n_layers,
            n_local=0,
            reach=0,
        )
    raise ValueError(f"no cost is known of {config.model_type}")


def _parts(file: Path) -> list[Path]:
    beside = [file.with_name(file.name + ".data"), file.with_suffix(".bin")]
    return [file, *(part for part in beside if part.is_file())]


def _cases(subject: Subject) -> tuple[tuple[int, ...], ...]:
    spec = subject.bundle.manifest.levels[subject.level].tokenizer
    tokenizer = Tokenizer(subject.bundle.file(spec.file), spec)
    tokens = tokenizer.encode([text.text for text in load_proof_texts()])
    return tuple(token.windows[0].input_ids for token in tokens)


def _write_forms(subject: Subject, cases: Sequence[Sequence[int]]) -> None:
    """Converts in a child that gives its memory back."""
    subject.forms.mkdir(parents=True, exist_ok=True)
    calibration = subject.forms / "calibration.json"
    calibration.write_text(json.dumps([list(case) for case in cases]), encoding="utf-8")
    arguments = [str(path) for path in (subject.merged, subject.forms, calibration)]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "benchmarks.engines.forms", *arguments],
        cwd=REPOSITORY,
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode:
        raise WorkerFailed("the model could not be written for every engine, see above")


def _peak(threads: int) -> Mapping[str, float]:
    return run_once("peak", ["-m", "benchmarks.engines.peak", "--threads", str(threads)])


def _limit(spec: EngineSpec) -> int | None:
    if spec.kind == "onnxruntime":
        return _MAX_PORTABLE_TOKENS
    return _MAX_COMPILED_TOKENS if spec.kind == "pytorch-compile" else None


def _takes(spec: EngineSpec, workload: Workload) -> bool:
    if workload.kind == "planned":
        # Only ours has a planner; the others would be measured on it without having it.
        return spec.kind == "hazgate"
    if workload.kind == "packed":
        return spec.kind == "hazgate-fused"
    if spec.workers > 1:
        # There is nothing to share in one batch.
        return False
    if workload.kind == "padded":
        # What planning is held against: the same graph without it, and PyTorch.
        return spec.kind in ("hazgate", "hazgate-fused", "pytorch")
    limit = _limit(spec)
    tokens = (workload.tokens or 0) * workload.n_texts
    return limit is None or tokens <= limit * 2


def _run(
    loaded: Mapping[str, _Loaded],
    specs: Sequence[EngineSpec],
    workloads: Sequence[Workload],
    rounds: int,
) -> tuple[EngineRound, ...]:
    taken = {
        (spec.name, workload.name)
        for spec in specs
        for workload in workloads
        if spec.name in loaded and _takes(spec, workload)
    }
    names = [workload.name for workload in workloads]
    calls: dict[tuple[str, str], int] = {}
    for turn in track(plan_turns(list(loaded), names, rounds=1, seed=SEED), "warm up"):
        key = (turn.system, turn.workload)
        if key in taken:
            request = Request(action="time", name=turn.workload, n_calls=1)
            (first,) = loaded[turn.system].worker.ask(request, Timed).seconds
            if first < _TURN_S:
                request = Request(action="time", name=turn.workload, n_calls=3)
                warm = loaded[turn.system].worker.ask(request, Timed).seconds
                first = statistics.median(warm)
            calls[key] = max(1, min(_MAX_CALLS, int(_TURN_S / first)))
    turns = [
        turn
        for turn in plan_turns(list(loaded), names, rounds=rounds, seed=SEED)
        if (turn.system, turn.workload) in taken
    ]
    return tuple(
        EngineRound(
            round=turn.round,
            workload=turn.workload,
            engine=turn.system,
            seconds=loaded[turn.system]
            .worker.ask(
                Request(
                    action="time",
                    name=turn.workload,
                    n_calls=calls[turn.system, turn.workload],
                ),
                Timed,
            )
            .seconds,
        )
        for turn in track(turns, f"measure, {rounds} rounds")
    )


def _quality(logits: Mapping[str, np.ndarray], name: str) -> EngineQuality | None:
    if name == REFERENCE or name not in logits or REFERENCE not in logits:
        return None
    wanted, got = logits[REFERENCE], logits[name]
    differences = np.abs(got - wanted).max(axis=1)
    p50, p99 = np.percentile(differences, [50, 99])
    return EngineQuality(
        p50_abs_logit_diff=float(p50),
        p99_abs_logit_diff=float(p99),
        max_abs_logit_diff=float(differences.max()),
        decisions_changed=int((got.argmax(axis=1) != wanted.argmax(axis=1)).sum()),
        n_texts=len(wanted),
    )
