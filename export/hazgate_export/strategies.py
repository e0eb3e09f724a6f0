"""Strategies: how each kind of graph is made of a merged model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from transformers import PreTrainedModel

from hazgate.bundle.manifest import GraphKind
from hazgate.cli.progress import step
from hazgate.engine.processor import n_processors
from hazgate.text.tokenization import Tokenizer
from hazgate_export.author.exits import ExitLayers
from hazgate_export.author.families import (
    AuthoredWeights,
    BalancedWeights,
    balance_int8,
    read_weights,
    write_fp32,
    write_fused,
)
from hazgate_export.bundle.describe import ExportedGraph
from hazgate_export.errors import RecipeError, UnsupportedArchitecture
from hazgate_export.graphs.convert import export_onnx
from hazgate_export.graphs.half import write_half
from hazgate_export.graphs.quantize import quantize_int8
from hazgate_export.graphs.windows import block_windows
from hazgate_export.model.architecture import Architecture
from hazgate_export.proof.int8_activations import write_cheapest_int8
from hazgate_export.proof.subject import Subject
from hazgate_export.proof.texts import int8_activation_ids
from hazgate_export.recipe import LoadedRecipe, Recipe, VariantRecipe
from hazgate_export.schemes import HalfPrecision, PortableInt8Scheme

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MergedForms:
    """Forms of a merged model that its graphs are made of.

    Attributes:
        weights: for authored and fused graphs; None if no variant needs one, or none is known.
        portable: the portable graph in float32; None if no variant needs it.
    """

    weights: AuthoredWeights | None
    portable: Path | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Material:
    subject: Subject
    opset: int
    forms: MergedForms
    balanced: BalancedWeights | None


@dataclass(frozen=True, slots=True)
class _Made:
    """A graph that was made, and the error of int8 products that it allows."""

    file: Path
    error: float = 0.0


# Makes a variant's graph, at the path given if it makes a new file.
_Strategy = Callable[[_Material, VariantRecipe, Path], _Made]


def read_forms(
    recipe: Recipe, name: str, merged: PreTrainedModel, architecture: Architecture, folder: Path
) -> MergedForms:
    """Read the forms of a merged model that the recipe's variants need.

    The model is not needed afterwards. `name` begins the names of files in `folder`.

    Raises:
        UnsupportedArchitecture: no authored graph is known, and a variant allows no other.
    """
    weights = _read_weights(recipe, name, merged, architecture)
    if weights is not None and all(v.graph != "portable" for v in recipe.variants.values()):
        return MergedForms(weights=weights, portable=None)
    portable = folder / f"{name}-portable.onnx"
    step(f"{name}: export the portable graph to ONNX, opset {recipe.opset}")
    export_onnx(merged, portable, recipe.opset, per_token=recipe.levels[name].per_token)
    block_windows(portable)
    return MergedForms(weights=weights, portable=portable)


def make_graphs(
    loaded: LoadedRecipe, subject: Subject, tokenizer: Tokenizer, forms: MergedForms, folder: Path
) -> dict[str, ExportedGraph]:
    """Make the graph of each of the recipe's variants in `folder`, of all levels together."""
    recipe = loaded.recipe
    material = _Material(
        subject=subject,
        opset=recipe.opset,
        forms=forms,
        balanced=_balance(loaded, subject, tokenizer, forms.weights, folder),
    )
    made: dict[str, _Made] = {}
    for name, variant in recipe.variants.items():
        if variant.exits is None:
            kind = _kind_of(variant, forms)
            how = variant.int8_scheme or variant.precision
            step(f"{subject.name}: make the {kind} graph, {how}")
            file = folder / f"{subject.heads[0].level}-{name}.onnx"
            made[name] = _STRATEGIES[kind, how](material, variant, file)
    for name, variant in recipe.variants.items():
        if variant.exits is not None:
            plain = made[_needed(recipe.twin_of(name))]
            made[name] = _with_exits(material, recipe, name, plain, folder)
    return {
        name: ExportedGraph(file=made[name].file, kind=_kind_of(variant, forms))
        for name, variant in recipe.variants.items()
    }


def _with_exits(
    material: _Material, recipe: Recipe, name: str, plain: _Made, folder: Path
) -> _Made:
    """Write the plain graph again, with exits; at a level that texts do not leave, keep it.

    Raises:
        RecipeError: there is no such layer.
    """
    (level, *_others), exits = material.subject.heads, _needed(recipe.variants[name].exits)
    if level.level not in recipe.exit_levels():
        return plain
    balanced = _needed(material.balanced)
    n_layers, labels = balanced.weights.n_layers, recipe.levels[level.level].labels
    if exits.after_layers[-1] >= n_layers:
        raise RecipeError(
            f"variants.{name}.exits.after_layers: the model has {n_layers} layers, expected "
            f"numbers from 1 to {n_layers - 1}, got {list(exits.after_layers)}"
        )
    step(f"{material.subject.name}: make the graph with exits {name}")
    file = folder / f"{level.level}-{name}.onnx"
    places = ExitLayers(
        after_layers=exits.after_layers,
        positive=labels.index(_needed(recipe.positive_of(level.level)).label),
    )
    write_fused(balanced, file, material.opset, error=plain.error, exits=places)
    return _Made(file, plain.error)


def _read_weights(
    recipe: Recipe, name: str, merged: PreTrainedModel, architecture: Architecture
) -> AuthoredWeights | None:
    choices = {variant.graph for variant in recipe.variants.values()}
    if choices == {"portable"}:
        return None
    try:
        return read_weights(merged, architecture, per_token=recipe.levels[name].per_token)
    except UnsupportedArchitecture as error:
        if not choices.isdisjoint(("authored", "fused")):
            raise
        step(f"{name}: {error}\nThe recipe allows the portable graph instead.")
        return None


def _balance(
    loaded: LoadedRecipe,
    subject: Subject,
    tokenizer: Tokenizer,
    weights: AuthoredWeights | None,
    folder: Path,
) -> BalancedWeights | None:
    """Balance the weights if a variant needs it: if its int8 scheme is the author's own."""
    schemes = {variant.int8_scheme for variant in loaded.recipe.variants.values()}
    if weights is None or schemes.isdisjoint(("static", "per_token")):
        return None
    texts = int8_activation_ids(loaded, tokenizer)
    step(f"{subject.name}: observe the activations of {len(texts)} texts")
    return balance_int8(weights, texts, loaded.recipe.opset, folder, threads=n_processors())


def _kind_of(variant: VariantRecipe, forms: MergedForms) -> GraphKind:
    if variant.graph == "portable" or forms.weights is None:
        return "portable"
    return "fused" if variant.graph == "fused" else "authored"


def _keep(material: _Material, _variant: VariantRecipe, _file: Path) -> _Made:
    return _Made(_needed(material.forms.portable))


def _halve(
    material: _Material, _variant: VariantRecipe, file: Path, *, precision: HalfPrecision
) -> _Made:
    write_half(_needed(material.forms.portable), file, precision)
    return _Made(file)


def _quantize(
    material: _Material, _variant: VariantRecipe, file: Path, *, scheme: PortableInt8Scheme
) -> _Made:
    quantize_int8(_needed(material.forms.portable), file, scheme)
    return _Made(file)


def _author(material: _Material, _variant: VariantRecipe, file: Path) -> _Made:
    write_fp32(_needed(material.forms.weights), file, material.opset)
    return _Made(file)


def _author_int8(
    material: _Material, variant: VariantRecipe, file: Path, *, kind: Literal["authored", "fused"]
) -> _Made:
    cheapest = write_cheapest_int8(
        _needed(material.balanced), kind, file, material.opset, material.subject, variant.parity
    )
    return _Made(file, cheapest.error)


def _needed(form: _T | None) -> _T:
    """Return what the recipe's checks, `read_forms` or `_balance` made sure of."""
    if form is None:
        raise ValueError("a variant's graph needs what was not made")
    return form


# By the graph's kind and the int8 scheme, or the precision of a variant without one.
_STRATEGIES: Mapping[tuple[GraphKind, str], _Strategy] = {
    ("portable", "fp32"): _keep,
    ("portable", "fp16"): partial(_halve, precision="fp16"),
    ("portable", "bf16"): partial(_halve, precision="bf16"),
    ("portable", "dynamic"): partial(_quantize, scheme="dynamic"),
    ("portable", "blockwise"): partial(_quantize, scheme="blockwise"),
    ("authored", "fp32"): _author,
    ("authored", "static"): partial(_author_int8, kind="authored"),
    ("fused", "per_token"): partial(_author_int8, kind="fused"),
}
