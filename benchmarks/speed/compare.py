"""The comparison of PyTorch and a bundle's variants: tasks, systems and figures."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.runner import RunningSystem, TimedCase, run_turns, start_system
from benchmarks.harness.statistics import percentiles
from benchmarks.harness.store import header, parity_of
from benchmarks.harness.texts import proof_rows, proof_texts
from benchmarks.harness.turns import Turn
from benchmarks.speed.merge import adapter_folders, write_merged
from benchmarks.speed.quality import compare_answers
from benchmarks.speed.results import (
    RoundFigures,
    SpeedResults,
    SpeedSystemFigures,
    WorkloadFigures,
)
from benchmarks.speed.systems import (
    FAIR_BASELINE,
    REFERENCE,
    ModelFiles,
    SpeedSetup,
    speed_specs,
)
from benchmarks.speed.workloads import SEED, SpeedWorkload, make_workloads
from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import track
from hazgate_export.bundle.assemble import PARITY_FILE
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.recipe_file import load_recipe

# Untimed calls of each workload before the first round, and at the start of each turn, when the
# caches are still the previous system's.
_WARM_CALLS = 10
_WARM_CALLS_PER_TURN = 3


def compare(
    recipe: Path, bundle: Bundle, *, rounds: int, threads: int, calls: int, command: str
) -> SpeedResults:
    """Measure PyTorch and every variant of `bundle` on the same tasks.

    Args:
        recipe: the recipe that the bundle was built from; its sources are PyTorch's weights.
        bundle: an open bundle.
        rounds: how often each system runs each workload.
        threads: what each system may use.
        calls: timed calls of each token count in one round.
        command: what a reader types to repeat it; recorded.

    Raises:
        BenchmarkError: the bundle was built from other weights, or a system failed.
        ExportError: the recipe or its sources are unavailable.
    """
    manifest = bundle.manifest
    rows = proof_rows(bundle, manifest.cascade_for("this benchmark").level1)
    workloads = _workloads(bundle, calls)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hazgate-bench-"))
        files = _model_files(recipe, bundle, Path(folder))
        write_merged(files)
        specs = {spec.name: spec for spec in speed_specs(manifest)}
        # One after another, so that no start is slowed by a neighbour's.
        systems = {
            name: start_system(
                stack,
                name,
                "benchmarks.speed.worker",
                SpeedSetup(
                    system=spec, files=files, threads=threads, workloads=workloads, rows=rows
                ),
                threads=threads,
            )
            for name, spec in track(list(specs.items()), "load systems")
        }
        rounds_figures = _run(systems, workloads, rounds)
        peaks = {name: system.memory().peak_bytes for name, system in systems.items()}
        logits = {
            name: {level: systems[name].logits(level) for level in manifest.levels}
            for name in track(list(systems), "compare answers")
        }
    return SpeedResults(
        header=header(manifest.name, command, digest=bundle.digest, threads=threads),
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
            SpeedSystemFigures(
                name=name,
                title=specs[name].title,
                load_s=system.start_s,
                loaded_rss_bytes=system.loaded.rss_bytes,
                peak_rss_bytes=peaks[name],
                size_bytes=system.loaded.size_bytes,
                quality=None
                if name == REFERENCE
                else compare_answers(manifest, logits[REFERENCE], logits[name]),
            )
            for name, system in systems.items()
        ),
        rounds=rounds_figures,
        parity=parity_of(bundle),
    )


def _workloads(bundle: Bundle, calls: int) -> tuple[SpeedWorkload, ...]:
    document = json.loads(bundle.file(PARITY_FILE).read_text(encoding="utf-8"))
    spec = bundle.manifest.levels[bundle.manifest.cascade_for("this benchmark").level1].tokenizer
    return make_workloads(
        proof_texts(), vocab_size=document["vocab_size"], max_tokens=spec.max_tokens, calls=calls
    )


def _model_files(recipe: Path, bundle: Bundle, folder: Path) -> ModelFiles:
    """Return the recipe's sources on this machine, proven to be what the bundle was made of."""
    loaded = load_recipe(recipe)
    levels = bundle.manifest.levels
    if set(levels) != set(loaded.recipe.levels):
        raise BenchmarkError(
            f"{recipe} has the levels {sorted(loaded.recipe.levels)}, the bundle has "
            f"{sorted(levels)}"
        )
    fetched_levels = fetch_levels(loaded, levels, LocalSources(), folder / "sources")
    foreign = [
        f"{fetched.id} (for {name})"
        for name, level in levels.items()
        for fetched, stated in (
            (fetched_levels[name].base, level.base),
            (fetched_levels[name].adapter, level.adapter),
        )
        if fetched is not None and (stated is None or fetched.sha256 != stated.sha256)
    ]
    if foreign:
        raise BenchmarkError(
            f"the bundle was built from other weights than {recipe} finds here: "
            f"{', '.join(foreign)}. Build it again from this recipe."
        )
    return ModelFiles(
        recipe=str(recipe.resolve()),
        bundle=str(bundle.root),
        base=str(
            fetched_levels[bundle.manifest.cascade_for("this benchmark").level1].base.directory
        ),
        adapters=adapter_folders(fetched_levels),
        merged=str(folder),
    )


def _run(
    systems: Mapping[str, RunningSystem], workloads: Sequence[SpeedWorkload], rounds: int
) -> tuple[RoundFigures, ...]:
    by_name = {workload.name: workload for workload in workloads}

    def warm_up(turn: Turn) -> TimedCase:
        n_calls = min(_WARM_CALLS, by_name[turn.workload].n_calls)
        return TimedCase(workload=turn.workload, n_calls=n_calls)

    def timed(turn: Turn) -> TimedCase:
        workload = by_name[turn.workload]
        n_warm = 0 if workload.kind == "bulk" else min(_WARM_CALLS_PER_TURN, workload.n_calls)
        return TimedCase(workload=turn.workload, n_warm=n_warm, n_calls=workload.n_calls)

    names = list(by_name)
    for _ in run_turns(systems, names, warm_up, rounds=1, seed=SEED, title="warm up"):
        pass
    title = f"measure, {rounds} rounds"
    return tuple(
        RoundFigures(
            round=turn.round,
            workload=turn.workload,
            system=turn.system,
            total_s=sum(seconds),
            latency=None if by_name[turn.workload].kind == "bulk" else percentiles(seconds),
        )
        for turn, seconds in run_turns(systems, names, timed, rounds=rounds, seed=SEED, title=title)
    )
