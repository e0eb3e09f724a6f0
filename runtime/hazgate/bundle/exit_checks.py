"""The early exits of a manifest, checked."""

import itertools
from collections.abc import Iterator, Sequence

from hazgate.bundle.manifest import Manifest, VariantSpec


def exit_contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the early exits of a manifest's variants."""
    for name, level in manifest.levels.items():
        for variant, spec in level.variants.items():
            if spec.exits is None:
                continue
            path = f"$.levels.{name}.variants.{variant}.exits"
            yield from layer_problems(spec.exits.after_layers, f"{path}.after_layers")
            yield from _level_contradictions(manifest, name, path)
            yield from _variant_contradictions(spec, path)
    if any(spec.exits for spec in _variants_named(manifest, manifest.default_variant)):
        yield (
            f"$.default_variant: {manifest.default_variant!r} has early exits, which are asked for "
            "by name: expected a variant without"
        )


def layer_problems(layers: Sequence[int], path: str) -> Iterator[str]:
    """Yield what is wrong with the layers that have an exit."""
    if not layers or layers[0] < 1 or any(b <= a for a, b in itertools.pairwise(layers)):
        yield f"{path}: expected ascending numbers of layers from 1 on, got {list(layers)}"


def _level_contradictions(manifest: Manifest, name: str, path: str) -> Iterator[str]:
    level, cascade = manifest.levels[name], manifest.cascade
    if level.columns is not None:
        yield f"{path}: the level shares its body, and a text leaves for all levels or for none"
    if level.per_token or level.activation != "softmax" or len(level.labels) != 2:
        yield f"{path}: expected two labels of a text under softmax"
    if cascade is not None and name != cascade.level1:
        yield f"{path}: in a cascade only {cascade.level1} may have exits"
    elif manifest.positive_of(name) is None:
        yield f"{path}: nothing says which label flags a text: expected `positive`"


def _variant_contradictions(spec: VariantSpec, path: str) -> Iterator[str]:
    if spec.kind != "fused" or spec.batching != "packed":
        yield f"{path}: expected a packed graph of kind fused, got {spec.batching}, {spec.kind}"


def _variants_named(manifest: Manifest, variant: str) -> list[VariantSpec]:
    levels = manifest.levels.values()
    return [level.variants[variant] for level in levels if variant in level.variants]
