"""The comparison of engines: forms, turns and figures."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import AutoConfig, PretrainedConfig

from benchmarks.engines import forms
from benchmarks.engines.peak import measure_peak
from benchmarks.engines.results import (
    EngineComparison,
    EngineFigures,
    EngineQuality,
    EngineRound,
    ModelShape,
    WorkloadOfEngines,
)
from benchmarks.engines.systems import REFERENCE, EngineSetup, EngineSpec
from benchmarks.engines.workloads import SEED, EngineWorkload, padded_share
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.runner import RunningSystem, TimedCase, run_turns, start_system
from benchmarks.harness.store import header
from benchmarks.harness.texts import proof_rows
from benchmarks.harness.turns import Turn
from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import VariantSpec
from hazgate.cli.progress import step, track

PEERS = ("openvino", "nncf", "optimum-onnx")
WORKER = "benchmarks.engines.worker"
MAX_REASON = 600
# A turn has as many calls as fit into half a second.
_TURN_S = 0.5
_MAX_CALLS = 20
_N_WARM_UP = 3
# A portable graph's attention takes memory quadratic in the length.
_MAX_PORTABLE_TOKENS = 2048
# torch.compile traces every new length; longer ones would be measured compiling.
_MAX_COMPILED_TOKENS = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSubject:
    """One level in two forms: a merged model's folder and the bundle made of it.

    `forms` is the folder of the peers' forms.
    """

    name: str
    level: str
    merged: Path
    bundle: Bundle
    forms: Path


def compare_engines(
    subject: EngineSubject,
    workloads: Sequence[EngineWorkload],
    *,
    rounds: int,
    threads: int,
    compile_too: bool,
    command: str,
) -> EngineComparison:
    """Measure every engine on the same ids.

    An engine that cannot be loaded is recorded as failed; the others go on.

    Args:
        subject: the model.
        workloads: what each engine runs.
        rounds: how often each engine runs each workload.
        threads: what each engine may use.
        compile_too: also measure torch.compile, which needs a C++ compiler and minutes.
        command: what a reader types to repeat it; recorded.

    Raises:
        WorkerFailed: a form could not be written, or a loaded engine's process ended.
    """
    rows = proof_rows(subject.bundle, subject.level)
    forms.write_forms(subject.merged, subject.forms, rows)
    specs = engines_of(subject, threads=threads, compile_too=compile_too)
    config = AutoConfig.from_pretrained(subject.merged, local_files_only=True)
    step("measure the peak of the machine's matrix kernels")
    peaks = [measure_peak(threads)]
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        systems: dict[str, RunningSystem] = {}
        for spec in track(specs, "load engines"):
            setup = EngineSetup(
                engine=spec,
                threads=threads,
                vocab_size=config.vocab_size,
                workloads=tuple(workloads),
                rows=rows,
            )
            try:
                systems[spec.name] = start_system(stack, spec.name, WORKER, setup, threads=threads)
            except WorkerFailed as error:
                failures[spec.name] = str(error)[:MAX_REASON]
        logits = {
            name: system.logits()
            for name, system in track(list(systems.items()), "compare answers")
        }
        measured = _run(systems, specs, workloads, rounds)
        memory = {name: system.memory() for name, system in systems.items()}
    peaks.append(measure_peak(threads))
    return EngineComparison(
        header=header(
            subject.name,
            command,
            digest=subject.bundle.digest,
            threads=threads,
            distributions=PEERS,
        ),
        level=subject.level,
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
                load_s=systems[spec.name].loaded.load_s if spec.name in systems else None,
                loaded_rss_bytes=systems[spec.name].loaded.rss_bytes
                if spec.name in systems
                else None,
                peak_rss_bytes=memory[spec.name].peak_bytes if spec.name in memory else None,
                quality=_quality(logits, spec.name),
                failure=failures.get(spec.name),
            )
            for spec in specs
        ),
        rounds=measured,
    )


def engines_of(subject: EngineSubject, *, threads: int, compile_too: bool) -> list[EngineSpec]:
    """Return PyTorch, then its peers, then the authored variants of the bundle.

    The latter run once with all threads for each text and once with a worker per thread.
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

    # Of a variant with early exits, a run is no measure of the whole graph.
    own = {n: v for n, v in level.variants.items() if v.kind != "portable" and v.exits is None}
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
    """Return the cost of a text in a model of this configuration.

    Raises:
        ValueError: the model's family is not benchmarked.
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
    raise ValueError(
        f"model_type {config.model_type!r} has no cost here; expected modernbert or bert"
    )


def _parts(file: Path) -> list[Path]:
    weights = [file.with_name(file.name + ".data"), file.with_suffix(".bin")]
    return [file, *(part for part in weights if part.is_file())]


def _limit(spec: EngineSpec) -> int | None:
    if spec.kind == "onnxruntime":
        return _MAX_PORTABLE_TOKENS
    return _MAX_COMPILED_TOKENS if spec.kind == "pytorch-compile" else None


def _takes(spec: EngineSpec, workload: EngineWorkload) -> bool:
    if workload.kind == "planned":
        # Only ours chooses batches; the others would be measured with what they lack.
        return spec.kind == "hazgate"
    if workload.kind == "packed":
        return spec.kind == "hazgate-fused"
    if spec.workers > 1:
        # One batch cannot be shared among workers.
        return False
    if workload.kind == "padded":
        # The baselines of chosen batches: the same graph without them, and PyTorch.
        return spec.kind in ("hazgate", "hazgate-fused", "pytorch")
    limit = _limit(spec)
    tokens = (workload.tokens or 0) * workload.n_texts
    return limit is None or tokens <= limit * 2


def _run(
    systems: Mapping[str, RunningSystem],
    specs: Sequence[EngineSpec],
    workloads: Sequence[EngineWorkload],
    rounds: int,
) -> tuple[EngineRound, ...]:
    taken = {
        (spec.name, workload.name)
        for spec in specs
        for workload in workloads
        if spec.name in systems and _takes(spec, workload)
    }
    names = [workload.name for workload in workloads]
    n_calls: dict[tuple[str, str], int] = {}

    def first_call(turn: Turn) -> TimedCase | None:
        is_taken = (turn.system, turn.workload) in taken
        return TimedCase(workload=turn.workload, n_calls=1) if is_taken else None

    def timed(turn: Turn) -> TimedCase | None:
        n = n_calls.get((turn.system, turn.workload))
        return None if n is None else TimedCase(workload=turn.workload, n_calls=n)

    for turn, (seconds,) in run_turns(
        systems, names, first_call, rounds=1, seed=SEED, title="warm up"
    ):
        if seconds < _TURN_S:
            warm = TimedCase(workload=turn.workload, n_calls=_N_WARM_UP)
            seconds = statistics.median(systems[turn.system].time(warm))
        n_calls[turn.system, turn.workload] = max(1, min(_MAX_CALLS, int(_TURN_S / seconds)))
    return tuple(
        EngineRound(round=turn.round, workload=turn.workload, engine=turn.system, seconds=seconds)
        for turn, seconds in run_turns(
            systems, names, timed, rounds=rounds, seed=SEED, title=f"measure, {rounds} rounds"
        )
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
