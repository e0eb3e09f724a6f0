"""The manifest of a bundle, from its levels and their measured parities."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.manifest import (
    CascadeSpec,
    ConversationSpec,
    GraphKind,
    LevelSpec,
    Manifest,
    ParitySpec,
    PositiveSpec,
    SourceSpec,
    VariantSpec,
    schema_version_of,
)
from hazgate_export.graphs.weights import WrittenGraph
from hazgate_export.model.architecture import Architecture, architecture_sha256
from hazgate_export.model.sources import Fetched, LevelSources
from hazgate_export.parity import Parity
from hazgate_export.proof.subject import Subject
from hazgate_export.recipe import LoadedRecipe, PositiveRecipe
from hazgate_export.schemes import batching_of, execution_providers_of, scheme_name

# Tools whose versions change the result of a build.
TOOLS = (
    "hazgate",
    "hazgate-export",
    "torch",
    "transformers",
    "peft",
    "optimum-onnx",
    "onnx",
    "onnxruntime",
    "tokenizers",
    "numpy",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedGraph:
    """A variant's graph before it is in the bundle, and its kind."""

    file: Path
    kind: GraphKind


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportedLevel:
    """One level, exported but not yet measured."""

    sources: LevelSources
    labels: tuple[str, ...]
    architecture: Architecture
    subject: Subject
    graphs: Mapping[str, ExportedGraph]


def manifest_of(
    loaded: LoadedRecipe,
    levels: Mapping[str, ExportedLevel],
    written: Mapping[str, WrittenGraph],
    parities: tuple[Parity, ...],
) -> Manifest:
    """Describe a bundle; `files` stays empty until all of them are written.

    Args:
        loaded: the recipe.
        levels: the exported levels by name.
        written: the graphs in the bundle, by "LEVEL-VARIANT".
        parities: the measurements of each.
    """
    recipe = loaded.recipe
    figures = {(parity.level, parity.variant): parity for parity in parities}

    def variant_spec(name: str, variant: str) -> VariantSpec:
        settings = recipe.variants[variant]
        parity = figures[name, variant]
        return VariantSpec(
            graph=written[f"{name}-{variant}"].graph,
            data=written[f"{name}-{variant}"].data,
            kind=levels[name].graphs[variant].kind,
            precision=settings.precision,
            scheme=scheme_name(settings.int8_scheme),
            execution_providers=execution_providers_of(
                levels[name].graphs[variant].kind, settings.precision
            ),
            batching=batching_of(settings.int8_scheme),
            parity=ParitySpec(
                n_texts=parity.n_texts,
                max_abs_logit_diff=parity.max_abs_logit_diff,
                max_invariance_diff=parity.max_invariance_diff,
                decisions_changed=parity.decisions_changed,
            ),
        )

    specs = {
        name: LevelSpec(
            labels=level.labels,
            activation=recipe.levels[name].activation,
            positive=_positive_spec(recipe.levels[name].positive),
            thresholds=recipe.levels[name].thresholds,
            family=recipe.base.family,
            pooling=recipe.base.pooling,
            tokenizer=level.subject.tokenizer,
            base=_source_spec(level.sources.base),
            adapter=(
                None if level.sources.adapter is None else _source_spec(level.sources.adapter)
            ),
            variants={variant: variant_spec(name, variant) for variant in recipe.variants},
        )
        for name, level in levels.items()
    }
    return Manifest(
        schema_version=schema_version_of(specs),
        name=recipe.name,
        description=recipe.description,
        default_variant=recipe.default_variant,
        levels=specs,
        cascade=None if recipe.cascade is None else CascadeSpec(**recipe.cascade.model_dump()),
        conversation=ConversationSpec(
            turn=recipe.conversation.turn, separator=recipe.conversation.separator
        ),
        files={},
        provenance={
            "recipe_sha256": loaded.sha256,
            **{
                f"{name}.architecture_sha256": architecture_sha256(level.architecture)
                for name, level in levels.items()
            },
            **{tool: importlib.metadata.version(tool) for tool in TOOLS},
        },
    )


def _positive_spec(positive: PositiveRecipe | None) -> PositiveSpec | None:
    return None if positive is None else PositiveSpec(**positive.model_dump())


def _source_spec(source: Fetched) -> SourceSpec:
    return SourceSpec(
        id=source.id,
        revision=source.revision,
        sha256=source.sha256,
        files=source.files or None,
        converted=source.converted or None,
    )
