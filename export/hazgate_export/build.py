"""The pipeline that builds a bundle: fetch, merge, make graphs, prove, pack."""

import dataclasses
import gc
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import MANIFEST_FILE
from hazgate.cli.progress import step
from hazgate.documents.files import json_bytes
from hazgate.documents.folders import partial_folder
from hazgate.engine.canaries import Canaries
from hazgate.engine.kernels import instruction_set
from hazgate.errors import BundleError
from hazgate_export.bundle.assemble import (
    PARITY_FILE,
    POLICY_FILE,
    README_FILE,
    finish,
    list_files,
    write_json,
)
from hazgate_export.bundle.bundle_readme import bundle_readme
from hazgate_export.bundle.describe import ExportedLevel, manifest_of
from hazgate_export.bundle.report import parity_document
from hazgate_export.bundle.tokenizer import copy_tokenizer
from hazgate_export.errors import ParityMissed, RecipeError
from hazgate_export.graphs.weights import WrittenGraph, write_graphs
from hazgate_export.model.config import load_config
from hazgate_export.model.load import load_level, offline
from hazgate_export.model.merge import merge
from hazgate_export.model.pins import pins_to_paste
from hazgate_export.model.settle import Settled, settle
from hazgate_export.model.sources import LevelSources, LocalSources, fetch_levels
from hazgate_export.parity import Parity
from hazgate_export.preflight.rules import PreflightResult, preflight_table
from hazgate_export.preflight.run import DEFAULT_BATCH, preflight_graph
from hazgate_export.preflight.table import find_target
from hazgate_export.proof.canaries import CANARIES_FILE, choose_canaries
from hazgate_export.proof.reference import check_merged, reference_logits
from hazgate_export.proof.subject import Subject, boundary_of, lengths_of
from hazgate_export.proof.texts import load_proof_texts, make_cases, proof_texts_sha256
from hazgate_export.proof.verify import TestedGraph, measure_graph
from hazgate_export.recipe import LoadedRecipe, Recipe
from hazgate_export.schemes import batching_of
from hazgate_export.strategies import make_graphs, read_forms


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A finished bundle and its measured parities.

    `pins` are the sources of the recipe that pin no digests, as tables that do.
    """

    bundle: Bundle
    parities: tuple[Parity, ...]
    pins: str


def build(loaded: LoadedRecipe, target: Path, local: LocalSources) -> Built:
    """Build the recipe's bundle at `target`.

    Raises:
        SourceError: a base or adapter is not available or must not be used, or its files and the
            recipe disagree on labels, windows or thresholds.
        RecipeError: the recipe contradicts the base, the adapters or `local`.
        ParityMissed: an answer differs by more than the recipe allows; no bundle is left. The
            error carries the measured parities.
        BundleError: `target` is something else than a bundle, or the new bundle does not open.
    """
    loaded = _buildable_here(loaded)
    _refuse_foreign(target)
    _refuse_unknown_levels(loaded.recipe, local)
    with partial_folder(target) as folder:
        graphs, root = folder / "graphs", folder / "bundle"
        graphs.mkdir()
        root.mkdir()
        sources = fetch_levels(loaded, loaded.recipe.levels, local, folder / "sources")
        settled = settle(loaded, sources)
        loaded = settled.loaded
        levels = {
            name: _export_level(loaded, name, source, graphs, root)
            for name, source in sources.items()
        }
        written = write_graphs(_graph_files(levels), root)
        shutil.rmtree(graphs)
        parities = _prove(loaded.recipe, levels, written, root)
        bundle = _pack(settled, levels, written, parities, root, target)
        pins = pins_to_paste(loaded.recipe, sources)
        return Built(bundle=bundle, parities=parities, pins=pins)


def _export_level(
    loaded: LoadedRecipe, name: str, sources: LevelSources, graphs: Path, root: Path
) -> ExportedLevel:
    """Load a level's model, merge its adapter, and make the graph of each variant."""
    recipe = loaded.recipe
    level = recipe.levels[name]
    adapter = sources.adapter
    step(f"{name}: load {sources.base.id}" + (f" with {adapter.id}" if adapter else ""))
    adapted = load_level(sources, recipe, name)
    config = load_config(sources.base.directory, sources.base.id)
    architecture = config.architecture
    with offline():
        spec, tokenizer = copy_tokenizer(recipe.tokenizer, sources, config, root)
    cases = make_cases(load_proof_texts(), tokenizer, lengths_of(recipe), architecture.vocab_size)
    subject = Subject(
        level=name,
        cases=cases,
        reference=reference_logits(adapted, name, cases),
        tokenizer=spec,
        boundary=boundary_of(recipe, name),
    )
    if isinstance(adapted, PeftModel):
        merged = merge(adapted)
        check_merged(merged, subject)
    else:
        merged = adapted
    forms = read_forms(recipe, name, merged, architecture, graphs)
    # A full-size model is larger than everything else that follows.
    del adapted, merged
    gc.collect()
    return ExportedLevel(
        sources=sources,
        labels=level.labels,
        architecture=architecture,
        subject=subject,
        graphs=make_graphs(loaded, subject, tokenizer, forms, graphs),
    )


def _prove(
    recipe: Recipe,
    levels: Mapping[str, ExportedLevel],
    written: Mapping[str, WrittenGraph],
    root: Path,
) -> tuple[Parity, ...]:
    """Measure every written graph, and preflight those that the recipe says.

    Raises:
        ParityMissed: a graph misses its limits, or a provider would not take it whole.
    """
    parities = []
    refused: list[PreflightResult] = []
    for name, level in levels.items():
        for variant, settings in recipe.variants.items():
            graph = TestedGraph(
                variant=variant,
                file=root / written[f"{name}-{variant}"].graph,
                kind=level.graphs[variant].kind,
                precision=settings.precision,
                batching=batching_of(settings.int8_scheme),
                limits=settings.parity,
            )
            parities.append(measure_graph(level.subject, graph))
            refused.extend(_preflight(recipe, graph))
    problems = [problem for parity in parities for problem in parity.problems]
    if problems or refused:
        raise ParityMissed(
            "\n".join([*problems, preflight_table(refused)]).strip(), tuple(parities)
        )
    return tuple(parities)


def _pack(
    settled: Settled,
    levels: Mapping[str, ExportedLevel],
    written: Mapping[str, WrittenGraph],
    parities: tuple[Parity, ...],
    root: Path,
    target: Path,
) -> Bundle:
    """Describe the bundle in `root`, open it as a runtime would, and move it to `target`."""
    loaded = settled.loaded
    document = parity_document(
        parities,
        {name: level.subject.reference for name, level in levels.items()},
        limits={name: variant.parity for name, variant in loaded.recipe.variants.items()},
        proof_texts_sha256=proof_texts_sha256(),
        lengths=lengths_of(loaded.recipe),
        architectures={name: level.architecture for name, level in levels.items()},
    )
    write_json(root / PARITY_FILE, document)
    canaries = {
        name: choose_canaries(level.subject.cases, level.subject.reference)
        for name, level in levels.items()
    }
    (root / CANARIES_FILE).write_bytes(json_bytes(Canaries(levels=canaries)))
    if settled.policy is not None:
        (root / POLICY_FILE).write_text(settled.policy, encoding="utf-8")
    described = manifest_of(loaded, levels, written, parities)
    draft = dataclasses.replace(
        described,
        canaries=CANARIES_FILE,
        provenance={**described.provenance, **settled.provenance},
    )
    (root / README_FILE).write_text(bundle_readme(draft, parities), encoding="utf-8")
    return finish(root, dataclasses.replace(draft, files=list_files(root)), target)


def _graph_files(levels: Mapping[str, ExportedLevel]) -> dict[str, Path]:
    """List the graphs' files by "LEVEL-VARIANT"."""
    return {
        f"{name}-{variant}": graph.file
        for name, level in levels.items()
        for variant, graph in level.graphs.items()
    }


def _buildable_here(loaded: LoadedRecipe) -> LoadedRecipe:
    """Leave out the variants that this machine cannot run, and so cannot prove."""
    recipe = loaded.recipe
    fused = [name for name, variant in recipe.variants.items() if variant.graph == "fused"]
    if not fused or instruction_set() is not None:
        return loaded
    step(
        f"{', '.join(fused)}: left out, because hazgate-kernels is not installed; "
        "`pip install ./runtime/kernels` builds it with a C++ compiler"
    )
    if recipe.default_variant in fused:
        raise RecipeError(
            f"default_variant is {recipe.default_variant}, which was left out; install "
            "hazgate-kernels or choose another default"
        )
    kept = {name: v for name, v in recipe.variants.items() if name not in fused}
    return loaded.model_copy(update={"recipe": recipe.model_copy(update={"variants": kept})})


def _refuse_foreign(target: Path) -> None:
    """Refuse a target that is neither a bundle nor empty, because a build replaces it."""
    if target.exists() and not (target / MANIFEST_FILE).is_file():
        if target.is_dir() and not any(target.iterdir()):
            return
        raise BundleError(
            f"{target} exists and is not a bundle; it will not be overwritten. Choose another --out"
        )


def _refuse_unknown_levels(recipe: Recipe, local: LocalSources) -> None:
    adapters = {name for name, level in recipe.levels.items() if level.adapter is not None}
    given = {
        "adapter": (set(local.adapters), adapters),
        "checkpoint": (set(local.checkpoints), recipe.levels.keys() - adapters),
    }
    for kind, (names, known) in given.items():
        if names - known:
            raise RecipeError(
                f"--{kind}: no level {sorted(names - known)} with {kind}; the recipe has "
                f"{sorted(known)}"
            )


def _preflight(recipe: Recipe, graph: TestedGraph) -> tuple[PreflightResult, ...]:
    """Find the releases named in the recipe that would not take a graph whole."""
    targets = [find_target(name) for name in recipe.variants[graph.variant].preflight]
    if not targets:
        return ()
    step(f"{graph.file.stem}: preflight for {', '.join(target.name for target in targets)}")
    found = preflight_graph(graph.file, targets, (DEFAULT_BATCH, recipe.tokenizer.window))
    return tuple(result for result in found if result.verdict != "one subgraph")
