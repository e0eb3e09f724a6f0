"""The pipeline: fetch, apply, merge, convert, quantise, verify, assemble. One direction."""

import dataclasses
import gc
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PretrainedConfig, PreTrainedModel

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import MANIFEST_FILE, GraphKind, TokenizerSpec
from hazgate.cli.progress import step
from hazgate.documents.files import json_bytes, sha256
from hazgate.documents.folders import partial_folder
from hazgate.engine.canaries import Canaries
from hazgate.engine.kernels import instruction_set
from hazgate.engine.processor import n_processors
from hazgate.engine.session import OrtSession
from hazgate.errors import BundleError
from hazgate.text.tokenization import Tokenizer
from hazgate_export.author.families import (
    Calibrated,
    Weights,
    calibrate,
    read_weights,
    write_fp32,
)
from hazgate_export.bundle.assemble import (
    PARITY_FILE,
    README_FILE,
    finish,
    list_files,
    write_json,
)
from hazgate_export.bundle.bundle_readme import bundle_readme
from hazgate_export.bundle.describe import ExportedGraph, ExportedLevel, manifest_of
from hazgate_export.bundle.report import parity_document
from hazgate_export.errors import ParityMissed, RecipeError, UnsupportedArchitecture
from hazgate_export.graphs.convert import export_onnx
from hazgate_export.graphs.half import runnable_here, write_half
from hazgate_export.graphs.quantize import quantize_int8
from hazgate_export.graphs.weights import write_graphs
from hazgate_export.graphs.windows import block_windows
from hazgate_export.model.merge import load_adapted, merge
from hazgate_export.model.sources import Fetched, fetch
from hazgate_export.parity import Parity
from hazgate_export.preflight.rules import Judgement, judgement_table
from hazgate_export.preflight.run import DEFAULT_BATCH, preflight_graph
from hazgate_export.preflight.table import find_target
from hazgate_export.proof.canaries import CANARIES_FILE, choose_canaries
from hazgate_export.proof.int8_activations import Trial, write_calibrated
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.texts import (
    Case,
    load_proof_texts,
    make_cases,
    proof_texts_sha256,
    read_calibration_texts,
)
from hazgate_export.proof.tokenizer_parity import check_tokenizer
from hazgate_export.proof.verify import Boundary, measure
from hazgate_export.recipe import DirectorySource, LoadedRecipe, Recipe, Source
from hazgate_export.schemes import Int8Scheme, batching_of

# Merging adds the adapter's product to the weights once instead of per text: float rounding only.
_MAX_MERGE_DIFF = 1e-4
# Which of the cases it is compared on: of those up to so many tokens each so many. PyTorch's passes
# are half of a large build, and what merging moved every variant's own gate sees, over all cases.
_MERGE_MAX_TOKENS, _MERGE_STRIDE = 512, 3
# The schemes whose weights are balanced by what texts make of them.
_BALANCED: tuple[Int8Scheme, ...] = ("calibrated", "per_token")


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSources:
    """Directories that stand in for the recipe's sources, e.g. on a host without the Hub."""

    base: Path | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A finished bundle and what was measured of it."""

    bundle: Bundle
    parities: tuple[Parity, ...]


def build(loaded: LoadedRecipe, target: Path, local: LocalSources) -> Built:
    """Builds the recipe's bundle at `target`.

    Raises:
        SourceError: a base or adapter cannot be had or must not be used.
        RecipeError: the recipe and what was found contradict each other.
        ParityMissed: an answer differs by more than the recipe allows; no bundle is left. The
            error carries what was measured.
        BundleError: `target` is something else than a bundle, or what was written does not open.
    """
    loaded = _buildable_here(loaded)
    recipe = loaded.recipe
    _refuse_foreign(target)
    unknown = set(local.adapters) - set(recipe.levels)
    if unknown:
        raise RecipeError(f"no level {sorted(unknown)}; the recipe has {sorted(recipe.levels)}")
    with partial_folder(target) as folder:
        graphs, root = folder / "graphs", folder / "bundle"
        graphs.mkdir()
        root.mkdir()
        levels = {name: _export_level(loaded, name, local, graphs, root) for name in recipe.levels}
        written = write_graphs(
            {
                f"{name}-{v}": graph.file
                for name, level in levels.items()
                for v, graph in level.graphs.items()
            },
            root,
        )
        shutil.rmtree(graphs)
        parities = tuple(
            _measure(recipe, name, variant, level, root / written[f"{name}-{variant}"].graph)
            for name, level in levels.items()
            for variant in recipe.variants
        )
        problems = [problem for parity in parities for problem in parity.problems]
        missed = [
            found
            for name in levels
            for variant in recipe.variants
            for found in _preflight(recipe, variant, root / written[f"{name}-{variant}"].graph)
            if found.verdict != "one subgraph"
        ]
        if problems or missed:
            raise ParityMissed("\n".join([*problems, judgement_table(missed)]).strip(), parities)
        document = parity_document(
            parities,
            {name: level.reference for name, level in levels.items()},
            gates={name: variant.parity for name, variant in recipe.variants.items()},
            proof_texts_sha256=proof_texts_sha256(),
            lengths=_lengths(recipe),
            vocab_size=next(iter(levels.values())).vocab_size,
        )
        write_json(root / PARITY_FILE, document)
        canaries = {
            name: choose_canaries(level.cases, level.reference) for name, level in levels.items()
        }
        (root / CANARIES_FILE).write_bytes(json_bytes(Canaries(levels=canaries)))
        draft = dataclasses.replace(
            manifest_of(loaded, levels, written, parities), canaries=CANARIES_FILE
        )
        (root / README_FILE).write_text(bundle_readme(draft, parities), encoding="utf-8")
        manifest = dataclasses.replace(draft, files=list_files(root))
        return Built(bundle=finish(root, manifest, target), parities=parities)


def reference_of_level(
    loaded: LoadedRecipe, name: str, local: LocalSources, cases: tuple[Case, ...]
) -> NDArray[np.float32]:
    """The adapter-applied PyTorch model's logits of `cases`, shape [len(cases), n_labels]."""
    base, adapter = fetch_level(loaded, name, local)
    level = loaded.recipe.levels[name]
    adapted = load_adapted(base, adapter, loaded.recipe.base, level.labels, level.activation)
    return torch_logits(adapted, cases, f"{name}: PyTorch, adapter applied")


def fetch_level(loaded: LoadedRecipe, name: str, local: LocalSources) -> tuple[Fetched, Fetched]:
    """The base and the adapter of a level, on this machine.

    Raises:
        SourceError: one cannot be had, or must not be used.
    """
    recipe = loaded.recipe
    level = recipe.levels[name]

    def source(given: Path | None, stated: Source) -> Source:
        return DirectorySource(directory=given.resolve()) if given else stated

    base = fetch(
        source(local.base, recipe.base.source),
        id=recipe.base.id,
        folder=loaded.folder,
        weights="model",
    )
    adapter = fetch(
        source(local.adapters.get(name), level.adapter),
        id=level.adapter_id,
        folder=loaded.folder,
        weights="adapter_model",
    )
    return base, adapter


def _buildable_here(loaded: LoadedRecipe) -> LoadedRecipe:
    """The recipe without the variants that this machine cannot run, and so cannot prove."""
    recipe = loaded.recipe
    fused = [name for name, variant in recipe.variants.items() if variant.graph == "fused"]
    if not fused or instruction_set() is not None:
        return loaded
    step(
        f"{', '.join(fused)}: left out, for hazgate-kernels is not installed; it is built by "
        "`pip install ./runtime/kernels`, with a C++ compiler"
    )
    if recipe.default_variant in fused:
        raise RecipeError(f"default_variant is {recipe.default_variant}, which was left out")
    kept = {name: v for name, v in recipe.variants.items() if name not in fused}
    return loaded.model_copy(update={"recipe": recipe.model_copy(update={"variants": kept})})


def _refuse_foreign(target: Path) -> None:
    """A build replaces what lies at `target`, so that must be a bundle, or nothing."""
    if target.exists() and not (target / MANIFEST_FILE).is_file():
        if target.is_dir() and not any(target.iterdir()):
            return
        raise BundleError(f"{target} is there and is no bundle; it will not be overwritten")


def _export_level(
    loaded: LoadedRecipe, name: str, local: LocalSources, graphs: Path, root: Path
) -> ExportedLevel:
    recipe = loaded.recipe
    level = recipe.levels[name]
    step(f"{name}: load {recipe.base.id} with {level.adapter_id}")
    base, adapter = fetch_level(loaded, name, local)
    adapted = load_adapted(base, adapter, recipe.base, level.labels, level.activation)
    config = adapted.config
    is_gate = recipe.cascade.level1 == name
    spec, tokenizer = _tokenizer(recipe, base, adapter, config, root)
    cases = make_cases(load_proof_texts(), tokenizer, _lengths(recipe), config.vocab_size)
    reference = torch_logits(adapted, cases, f"{name}: PyTorch, adapter applied")
    merged = merge(adapted)
    short = [i for i, case in enumerate(cases) if len(case.input_ids) <= _MERGE_MAX_TOKENS]
    sample = short[::_MERGE_STRIDE]
    merged_logits = torch_logits(merged, [cases[i] for i in sample], f"{name}: PyTorch, merged")
    moved = float(np.abs(merged_logits - reference[sample]).max())
    if not moved <= _MAX_MERGE_DIFF:
        raise ParityMissed(f"{name}: merging moved the logits by {moved:.2e}")
    boundary = Boundary(
        positive=level.labels.index(recipe.cascade.positive_label) if is_gate else None,
        threshold=recipe.cascade.threshold,
        activation=level.activation,
    )
    weights = _weights(recipe, name, merged)
    portable = graphs / f"{name}-portable.onnx"
    if weights is None or any(v.graph == "portable" for v in recipe.variants.values()):
        step(f"{name}: export the portable graph to ONNX, opset {recipe.opset}")
        export_onnx(merged, portable, recipe.opset)
        block_windows(portable)
    # A full-size model is larger than everything else that follows.
    del adapted, merged
    gc.collect()
    calibrated: Calibrated[Any] | None = None
    if weights is not None and any(v.int8_scheme in _BALANCED for v in recipe.variants.values()):
        texts = _calibration_texts(loaded, tokenizer)
        step(f"{name}: observe {len(texts)} calibration texts")
        calibrated = calibrate(weights, texts, recipe.opset, graphs, threads=n_processors())
    files = {}
    for variant, settings in recipe.variants.items():
        target = graphs / f"{name}-{variant}.onnx"
        if settings.graph == "portable" or weights is None:
            if settings.precision in ("fp16", "bf16"):
                step(f"{name}: halve to {settings.precision}")
                write_half(portable, target, settings.precision)
            elif settings.int8_scheme == "dynamic" or settings.int8_scheme == "blockwise":
                step(f"{name}: quantise to int8, {settings.int8_scheme}")
                quantize_int8(portable, target, settings.int8_scheme)
            else:
                target = portable
            files[variant] = ExportedGraph(file=target, kind="portable")
            continue
        kind: GraphKind = "fused" if settings.graph == "fused" else "authored"
        step(f"{name}: author the {kind} graph, {settings.precision}")
        if calibrated is None or settings.precision == "fp32":
            write_fp32(weights, target, recipe.opset)
        else:
            trial = Trial(
                cases=cases,
                reference=reference,
                tokenizer=spec,
                boundary=boundary,
                gate=settings.parity,
                level=name,
            )
            write_calibrated(calibrated, kind, target, recipe.opset, trial)
        files[variant] = ExportedGraph(file=target, kind=kind)
    return ExportedLevel(
        base=base,
        adapter=adapter,
        labels=level.labels,
        tokenizer=spec,
        boundary=boundary,
        vocab_size=config.vocab_size,
        cases=cases,
        reference=reference,
        graphs=files,
    )


def _weights(recipe: Recipe, name: str, merged: PreTrainedModel) -> Weights[Any] | None:
    """What authored graphs are written from; None if no variant needs one, or none is known.

    Raises:
        UnsupportedArchitecture: none is known, and a variant will have nothing else.
    """
    choices = {variant.graph for variant in recipe.variants.values()}
    if choices == {"portable"}:
        return None
    try:
        return read_weights(merged)
    except UnsupportedArchitecture as error:
        if not choices.isdisjoint(("authored", "fused")):
            raise
        step(f"{name}: {error}\nThe recipe allows the portable graph instead.")
        return None


def _calibration_texts(loaded: LoadedRecipe, tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """Ids of the corpus and of an even sample of the recipe's own calibration texts."""
    settings = loaded.recipe.int8_activations
    texts = [
        text for file in settings.files for text in read_calibration_texts(loaded.folder / file)
    ]
    stride = max(1, -(-len(texts) // settings.max_texts))
    corpus = [text.text for text in load_proof_texts()]
    return [t.windows[0].input_ids for t in tokenizer.encode([*corpus, *texts[::stride]])]


def _tokenizer(
    recipe: Recipe, base: Fetched, adapter: Fetched, config: PretrainedConfig, root: Path
) -> tuple[TokenizerSpec, Tokenizer]:
    """Copies the level's tokenizer into the bundle, under one name if levels share it."""
    places = [d for d in (adapter.directory, base.directory) if (d / "tokenizer.json").is_file()]
    if not places:
        raise RecipeError(f"neither {adapter.id} nor {base.id} has a tokenizer.json")
    if config.pad_token_id is None:
        raise RecipeError(f"{base.id}: its config.json names no pad_token_id")
    positions = _positions(config)
    if recipe.tokenizer.max_tokens > positions:
        raise RecipeError(
            f"tokenizer.max_tokens is {recipe.tokenizer.max_tokens}, {base.id} has {positions} "
            "positions"
        )
    source = places[0] / "tokenizer.json"
    target = root / "tokenizer.json"
    if target.exists() and sha256(target) != sha256(source):
        target = root / f"tokenizer-{sha256(source)[:8]}.json"
    shutil.copyfile(source, target)
    spec = TokenizerSpec(
        file=target.name,
        max_tokens=recipe.tokenizer.max_tokens,
        window_tokens=recipe.tokenizer.window,
        overlap_tokens=recipe.tokenizer.overlap,
        close_tokens=recipe.tokenizer.close_tokens,
        pad_token_id=config.pad_token_id,
        special_tokens_in_text=recipe.tokenizer.special_tokens_in_text,
    )
    tokenizer = Tokenizer(target, spec)
    check_tokenizer(tokenizer, spec, places[0], load_proof_texts())
    return spec, tokenizer


def _positions(config: PretrainedConfig) -> int:
    """The longest input of the architecture, in tokens."""
    if config.model_type in ("roberta", "xlm-roberta"):
        # Their position ids start behind the padding id.
        return int(config.max_position_embeddings - config.pad_token_id - 1)
    return int(config.max_position_embeddings)


def _lengths(recipe: Recipe) -> tuple[int, ...]:
    """The token counts that are tried; a length that is served is a length that was proven."""
    return tuple(sorted({*recipe.parity.lengths, recipe.tokenizer.max_tokens}))


def _measure(recipe: Recipe, name: str, variant: str, level: ExportedLevel, graph: Path) -> Parity:
    settings = recipe.variants[variant]
    with runnable_here(graph, settings.precision) as file:
        session = OrtSession(
            file,
            kind=level.graphs[variant].kind,
            n_labels=len(level.labels),
            threads=n_processors(),
        )
        return measure(
            session,
            level.cases,
            level.reference,
            level=name,
            variant=variant,
            batching=batching_of(settings.int8_scheme),
            tokenizer=level.tokenizer,
            boundary=level.boundary,
            gate=settings.parity,
        )


def _preflight(recipe: Recipe, variant: str, graph: Path) -> tuple[Judgement, ...]:
    """What the releases that the recipe names make of a variant's graph, at a window's length."""
    targets = [find_target(name) for name in recipe.variants[variant].preflight]
    if not targets:
        return ()
    step(f"{graph.stem}: preflight for {', '.join(target.name for target in targets)}")
    return preflight_graph(graph, targets, (DEFAULT_BATCH, recipe.tokenizer.window))
