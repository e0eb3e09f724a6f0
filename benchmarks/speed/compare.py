"""The comparison itself: one process a system, rounds interleaved, figures collected."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.errors import BenchmarkError, WorkerFailed
from benchmarks.harness.machine import describe_machine, today
from benchmarks.harness.messages import Logits, Timed
from benchmarks.harness.process import REPOSITORY, Worker, start_worker
from benchmarks.harness.statistics import percentiles
from benchmarks.harness.store import (
    DISTRIBUTIONS,
    SCHEMA_VERSION,
    Comparison,
    RoundFigures,
    SystemFigures,
    WorkloadFigures,
    parity_of,
)
from benchmarks.harness.turns import Turn, plan_turns
from benchmarks.speed.messages import Peak, Ready, Request, Setup
from benchmarks.speed.quality import LevelLogits, compare_answers
from benchmarks.speed.systems import FAIR_BASELINE, REFERENCE, ModelFiles, SystemSpec, systems_of
from benchmarks.speed.workloads import SEED, Workload, make_workloads
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import step, track
from hazgate.documents.decode import encode
from hazgate.text.tokenization import Tokenizer
from hazgate_export.build import LocalSources, fetch_level
from hazgate_export.bundle.assemble import PARITY_FILE
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.recipe import load_recipe


def compare(
    recipe: Path, bundle: Bundle, *, rounds: int, threads: int, calls: int, command: str
) -> Comparison:
    """Measures PyTorch and every variant of `bundle` on the same tasks.

    Args:
        recipe: the recipe that the bundle was built from; its sources are PyTorch's weights.
        bundle: an open bundle.
        rounds: how often each system runs each workload.
        threads: what each system may use.
        calls: timed calls of each token count in one round.
        command: what a reader types to repeat it; recorded.

    Raises:
        BenchmarkError: the bundle was built from other weights, or a system failed.
        ExportError: the recipe or its sources cannot be had.
    """
    cases, workloads = _tasks(bundle, calls)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hazgate-bench-"))
        files = _model_files(recipe, bundle, Path(folder))
        step("merge the adapters for PyTorch")
        _write_merged(files)
        # One after another, so that nobody's start is slowed by a neighbour's.
        loaded = {
            spec.name: _load(
                stack,
                Setup(system=spec, files=files, threads=threads, workloads=workloads, cases=cases),
            )
            for spec in track(systems_of(bundle.manifest), "load systems")
        }
        figures = _run(loaded, workloads, rounds)
        peaks = {
            name: item.worker.ask(Request(action="peak"), Peak) for name, item in loaded.items()
        }
        logits = {
            name: _logits(loaded[name].worker, bundle)
            for name in track(list(loaded), "compare answers")
        }
    return Comparison(
        schema_version=SCHEMA_VERSION,
        name=bundle.manifest.name,
        bundle_digest=bundle.digest,
        date=today(),
        command=command,
        machine=describe_machine(DISTRIBUTIONS),
        threads=threads,
        seed=SEED,
        reference=REFERENCE,
        baseline=FAIR_BASELINE,
        workloads=tuple(
            WorkloadFigures(
                name=w.name, title=w.title, kind=w.kind, n_texts=w.n_texts, tokens=w.tokens
            )
            for w in workloads
        ),
        systems=tuple(
            SystemFigures(
                name=name,
                title=item.spec.title,
                load_s=item.load_s,
                loaded_rss_bytes=item.ready.rss_bytes,
                peak_rss_bytes=peaks[name].rss_bytes,
                size_bytes=item.ready.size_bytes,
                quality=None
                if name == REFERENCE
                else compare_answers(bundle.manifest, logits[REFERENCE], logits[name]),
            )
            for name, item in loaded.items()
        ),
        rounds=figures,
        parity=parity_of(bundle),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    """A system whose process is ready."""

    spec: SystemSpec
    worker: Worker
    ready: Ready
    load_s: float


def _tasks(bundle: Bundle, calls: int) -> tuple[tuple[tuple[int, ...], ...], tuple[Workload, ...]]:
    """The tokenised texts on which answers are compared, and the workloads."""
    spec = bundle.manifest.levels[bundle.manifest.cascade.level1].tokenizer
    document = json.loads(bundle.file(PARITY_FILE).read_text(encoding="utf-8"))
    texts = [text.text for text in load_proof_texts()]
    tokens = Tokenizer(bundle.file(spec.file), spec).encode(texts)
    workloads = make_workloads(
        texts, vocab_size=document["vocab_size"], max_tokens=spec.max_tokens, calls=calls
    )
    return tuple(token.windows[0].input_ids for token in tokens), workloads


def _model_files(recipe: Path, bundle: Bundle, folder: Path) -> ModelFiles:
    """The recipe's sources on this machine, proven to be what the bundle was made of."""
    loaded = load_recipe(recipe)
    levels = bundle.manifest.levels
    if set(levels) != set(loaded.recipe.levels):
        raise BenchmarkError(
            f"{recipe} has the levels {sorted(loaded.recipe.levels)}, the bundle has "
            f"{sorted(levels)}"
        )
    fetched_levels = {name: fetch_level(loaded, name, LocalSources()) for name in levels}
    foreign = [
        f"{fetched.id} (for {name})"
        for name, level in levels.items()
        for fetched, stated in zip(fetched_levels[name], (level.base, level.adapter), strict=True)
        if fetched.sha256 != stated.sha256
    ]
    if foreign:
        raise BenchmarkError(
            f"the bundle was built from other weights than {recipe} finds here: "
            f"{', '.join(foreign)}. Build it again from this recipe."
        )
    return ModelFiles(
        recipe=str(recipe.resolve()),
        bundle=str(bundle.root),
        base=str(fetched_levels[bundle.manifest.cascade.level1][0].directory),
        adapters={name: str(adapter.directory) for name, (_, adapter) in fetched_levels.items()},
        merged=str(folder),
    )


def _write_merged(files: ModelFiles) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.merged"],
        input=json.dumps(encode(files)),
        capture_output=True,
        encoding="utf-8",
        cwd=REPOSITORY,
        check=False,
    )
    if done.returncode:
        raise WorkerFailed(f"merging for {FAIR_BASELINE} failed:\n{done.stderr[-1000:]}")


def _load(stack: ExitStack, setup: Setup) -> _Loaded:
    """Starts a system's process, which ends with `stack`; times it until both levels are loaded."""
    start = time.perf_counter()
    worker = stack.enter_context(
        start_worker(setup.system.name, ["-m", "benchmarks.speed.worker"], threads=setup.threads)
    )
    ready = worker.ask(setup, Ready)
    load_s = time.perf_counter() - start
    return _Loaded(spec=setup.system, worker=worker, ready=ready, load_s=load_s)


def _run(
    loaded: Mapping[str, _Loaded], workloads: Sequence[Workload], rounds: int
) -> tuple[RoundFigures, ...]:
    names = [workload.name for workload in workloads]
    turns = plan_turns(list(loaded), names, rounds=1, seed=SEED)
    for turn in track(turns, "warm up"):
        loaded[turn.system].worker.ask(Request(action="warm", name=turn.workload), Timed)
    kinds = {workload.name: workload.kind for workload in workloads}
    turns = plan_turns(list(loaded), names, rounds=rounds, seed=SEED)
    return tuple(
        _figures(turn, loaded[turn.system].worker, is_one_call=kinds[turn.workload] == "bulk")
        for turn in track(turns, f"measure, {rounds} rounds")
    )


def _figures(turn: Turn, worker: Worker, *, is_one_call: bool) -> RoundFigures:
    seconds = worker.ask(Request(action="time", name=turn.workload), Timed).seconds
    return RoundFigures(
        round=turn.round,
        workload=turn.workload,
        system=turn.system,
        total_s=sum(seconds),
        latency=None if is_one_call else percentiles(seconds),
    )


def _logits(worker: Worker, bundle: Bundle) -> LevelLogits:
    return {
        level: np.array(
            worker.ask(Request(action="logits", name=level), Logits).rows, dtype=np.float32
        )
        for level in bundle.manifest.levels
    }
