"""The pipeline that builds a bundle: fetch, merge, make graphs, prove, pack."""

import dataclasses
import gc
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.language_specs import LanguageSpec
from hazgate.bundle.manifest import MANIFEST_FILE
from hazgate.cli.progress import step
from hazgate.documents.files import json_bytes
from hazgate.documents.folders import partial_folder
from hazgate.engine.canaries import Canaries
from hazgate.engine.exits import Exits
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
from hazgate_export.bundle.describe import ExportedBody, manifest_of
from hazgate_export.bundle.exits import WrittenExits, write_exits
from hazgate_export.bundle.language_evidence import language_specs
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
from hazgate_export.proof.reference import check_merged, reference_logits, split_logits
from hazgate_export.proof.subject import lengths_of, subject_of
from hazgate_export.proof.texts import load_proof_texts, make_cases, proof_texts_sha256
from hazgate_export.proof.verify import TestedGraph, measure_graph
from hazgate_export.recipe import LoadedRecipe, Recipe
from hazgate_export.schemes import batching_of
from hazgate_export.strategies import make_graphs, read_forms


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A finished bundle and its measured parities.

    `pins` are the sources of the recipe that pin no digests, as tables that do. `exits` are the
    early exits of levels' variants, by both names.
    """

    bundle: Bundle
    parities: tuple[Parity, ...]
    pins: str
    exits: Mapping[tuple[str, str], Exits]


def build(loaded: LoadedRecipe, target: Path, local: LocalSources) -> Built:
    """Build the recipe's bundle at `target`.

    Raises:
        SourceError: a base or adapter is not available or must not be used, or its files and the
            recipe disagree on labels, windows or thresholds.
        RecipeError: the recipe contradicts the base, the adapters or `local`, or vouches for a
            language that the adapter was measured to miss.
        ParityMissed: an answer differs by more than the recipe allows; no bundle is left. The
            error carries the measured parities.
        ExitsUnproven: the claim of a variant's early exits is not proven; no bundle is left.
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
        languages = language_specs(loaded.recipe, sources)
        bodies = tuple(
            _export_body(loaded, body, sources[body[0]], graphs, root)
            for body in loaded.recipe.bodies()
        )
        written = write_graphs(_graph_files(bodies), root)
        shutil.rmtree(graphs)
        exits = write_exits(loaded, bodies, written, root)
        parities = _prove(loaded.recipe, bodies, written, exits, root)
        bundle = _pack(settled, bodies, written, parities, exits, languages, root, target)
        pins = pins_to_paste(loaded.recipe, sources)
        return Built(bundle=bundle, parities=parities, pins=pins, exits=_exits_alone(exits))


def _export_body(
    loaded: LoadedRecipe,
    levels: Sequence[str],
    sources: LevelSources,
    graphs: Path,
    root: Path,
) -> ExportedBody:
    """Load the model of a body's levels, merge its adapter, and make the graph of each variant."""
    recipe = loaded.recipe
    first = levels[0]
    adapter = sources.adapter
    step(f"{'+'.join(levels)}: load {sources.base.id}" + (f" with {adapter.id}" if adapter else ""))
    adapted = load_level(sources, recipe, first)
    config = load_config(sources.base.directory, sources.base.id)
    architecture = config.architecture
    with offline():
        spec, tokenizer = copy_tokenizer(recipe.tokenizer, sources, config, root)
    cases = make_cases(load_proof_texts(), tokenizer, lengths_of(recipe), architecture.vocab_size)
    logits = reference_logits(adapted, levels, cases)
    subject = subject_of(recipe, cases, spec, logits.shape[1], split_logits(recipe, levels, logits))
    if isinstance(adapted, PeftModel):
        merged = merge(adapted)
        check_merged(merged, subject)
    else:
        merged = adapted
    forms = read_forms(recipe, first, merged, architecture, graphs)
    # A full-size model is larger than everything else that follows.
    del adapted, merged
    gc.collect()
    return ExportedBody(
        sources=sources,
        architecture=architecture,
        subject=subject,
        graphs=make_graphs(loaded, subject, tokenizer, forms, graphs),
    )


def _prove(
    recipe: Recipe,
    bodies: Sequence[ExportedBody],
    written: Mapping[str, WrittenGraph],
    exits: Mapping[tuple[str, str], WrittenExits],
    root: Path,
) -> tuple[Parity, ...]:
    """Measure every written graph once, and preflight those that the recipe says.

    Returns:
        The figures of every level and variant, in the recipe's order.

    Raises:
        ParityMissed: a graph misses its limits, or a provider would not take it whole.
    """
    measured: dict[tuple[str, str], Parity] = {}
    refused: list[PreflightResult] = []
    for body in bodies:
        # Those with exits come last: where their graph is another variant's, so are the figures.
        variants = sorted(recipe.variants.items(), key=lambda item: item[1].exits is not None)
        for variant, settings in variants:
            own = written[f"{body.name}-{variant}"]
            with_exits = exits.get((body.name, variant))
            twin = recipe.twin_of(variant) if settings.exits else None
            if twin is not None and own == written[f"{body.name}-{twin}"]:
                for level in body.levels:
                    same = measured[level, twin]
                    measured[level, variant] = dataclasses.replace(same, variant=variant)
                continue
            graph = TestedGraph(
                variant=variant,
                file=root / own.graph,
                kind=body.graphs[variant].kind,
                precision=settings.precision,
                batching=batching_of(settings.int8_scheme),
                limits=settings.parity,
                exits=None if with_exits is None else with_exits.exits,
            )
            for parity in measure_graph(body.subject, graph):
                measured[parity.level, variant] = parity
            refused.extend(_preflight(recipe, graph))
    parities = tuple(
        measured[level, variant] for level in recipe.levels for variant in recipe.variants
    )
    problems = [problem for parity in parities for problem in parity.problems]
    if problems or refused:
        raise ParityMissed("\n".join([*problems, preflight_table(refused)]).strip(), parities)
    return parities


def _pack(
    settled: Settled,
    bodies: Sequence[ExportedBody],
    written: Mapping[str, WrittenGraph],
    parities: tuple[Parity, ...],
    exits: Mapping[tuple[str, str], WrittenExits],
    languages: Mapping[str, LanguageSpec] | None,
    root: Path,
    target: Path,
) -> Bundle:
    """Describe the bundle in `root`, open it as a runtime would, and move it to `target`."""
    loaded = settled.loaded
    exported = {head.level: (body, head) for body in bodies for head in body.subject.heads}
    levels = {name: exported[name] for name in loaded.recipe.levels}
    document = parity_document(
        parities,
        {name: head.reference for name, (_, head) in levels.items()},
        limits={name: variant.parity for name, variant in loaded.recipe.variants.items()},
        proof_texts_sha256=proof_texts_sha256(),
        lengths=lengths_of(loaded.recipe),
        architectures={name: body.architecture for name, (body, _) in levels.items()},
    )
    write_json(root / PARITY_FILE, document)
    canaries = {
        name: choose_canaries(body.subject, head.reference) for name, (body, head) in levels.items()
    }
    (root / CANARIES_FILE).write_bytes(json_bytes(Canaries(levels=canaries)))
    if settled.policy is not None:
        (root / POLICY_FILE).write_text(settled.policy, encoding="utf-8")
    specs = {names: written_exits.spec for names, written_exits in exits.items()}
    described = manifest_of(loaded, bodies, written, parities, specs, languages)
    draft = dataclasses.replace(
        described,
        canaries=CANARIES_FILE,
        provenance={**described.provenance, **settled.provenance},
    )
    readme = bundle_readme(draft, parities, _exits_alone(exits))
    (root / README_FILE).write_text(readme, encoding="utf-8")
    return finish(root, dataclasses.replace(draft, files=list_files(root)), target)


def _exits_alone(
    written: Mapping[tuple[str, str], WrittenExits],
) -> dict[tuple[str, str], Exits]:
    return {names: each.exits for names, each in written.items()}


def _graph_files(bodies: Sequence[ExportedBody]) -> dict[str, Path]:
    """List the graphs' files by "BODY-VARIANT"."""
    return {
        f"{body.name}-{variant}": graph.file
        for body in bodies
        for variant, graph in body.graphs.items()
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
