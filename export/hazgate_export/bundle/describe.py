"""The manifest of a bundle, from its levels and their measured parities."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.language_specs import LanguageSpec
from hazgate.bundle.manifest import (
    CascadeSpec,
    ColumnsSpec,
    ConversationSpec,
    ExitsSpec,
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

# A token level's head reads each token by itself.
_NO_POOLING = "none"
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
class ExportedBody:
    """One level, or several that share a pass, exported but not yet measured.

    Attributes:
        sources: the files that the model was loaded from.
        architecture: of the model.
        subject: the levels, with the reference's logits.
        graphs: the graph of each variant, which computes all of these levels.
    """

    sources: LevelSources
    architecture: Architecture
    subject: Subject
    graphs: Mapping[str, ExportedGraph]

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the levels."""
        return tuple(head.level for head in self.subject.heads)

    @property
    def name(self) -> str:
        """The name of the graphs' files: that of the first level."""
        return self.levels[0]


def manifest_of(
    loaded: LoadedRecipe,
    bodies: Sequence[ExportedBody],
    written: Mapping[str, WrittenGraph],
    parities: tuple[Parity, ...],
    exits: Mapping[tuple[str, str], ExitsSpec] | None = None,
    languages: Mapping[str, LanguageSpec] | None = None,
) -> Manifest:
    """Describe a bundle; `files` stays empty until all of them are written.

    Args:
        loaded: the settled recipe.
        bodies: the exported bodies of all levels.
        written: the graphs in the bundle, by "BODY-VARIANT".
        parities: the measurements of each level and variant.
        exits: the early exits of levels' variants, by both names; None for none.
        languages: those that the bundle vouches for, None if it does not say.
    """
    recipe = loaded.recipe
    body_of = {level: body for body in bodies for level in body.levels}
    figures = {(parity.level, parity.variant): parity for parity in parities}

    def variant_spec(name: str, variant: str) -> VariantSpec:
        settings = recipe.variants[variant]
        body = body_of[name]
        kind = body.graphs[variant].kind
        graph = written[f"{body.name}-{variant}"]
        parity = figures[name, variant]
        return VariantSpec(
            graph=graph.graph,
            data=graph.data,
            kind=kind,
            precision=settings.precision,
            scheme=scheme_name(settings.int8_scheme),
            execution_providers=execution_providers_of(kind, settings.precision),
            batching=batching_of(settings.int8_scheme),
            parity=ParitySpec(
                n_texts=parity.n_texts,
                max_abs_logit_diff=parity.max_abs_logit_diff,
                max_invariance_diff=parity.max_invariance_diff,
                decisions_changed=parity.decisions_changed,
                n_tags=parity.n_tags,
            ),
            exits=(exits or {}).get((name, variant)),
        )

    def level_spec(name: str) -> LevelSpec:
        level, body = recipe.levels[name], body_of[name]
        adapter = body.sources.adapter
        return LevelSpec(
            labels=level.labels,
            activation=level.activation,
            positive=_positive_spec(level.positive),
            thresholds=level.thresholds,
            family=recipe.base.family,
            pooling=_NO_POOLING if level.per_token else recipe.base.pooling,
            tokenizer=body.subject.tokenizer,
            base=_source_spec(body.sources.base),
            adapter=None if adapter is None else _source_spec(adapter),
            variants={variant: variant_spec(name, variant) for variant in recipe.variants},
            columns=(
                None
                if level.columns is None
                else ColumnsSpec(first=level.columns[0], width=body.subject.n_logits)
            ),
            output="tokens" if level.per_token else None,
            outside=level.outside,
            tagged="words" if level.tagged == "words" else None,
        )

    specs = {name: level_spec(name) for name in recipe.levels}
    return Manifest(
        schema_version=schema_version_of(specs, languages),
        name=recipe.name,
        description=recipe.description,
        default_variant=recipe.default_variant,
        levels=specs,
        cascade=None if recipe.cascade is None else CascadeSpec(**recipe.cascade.model_dump()),
        conversation=ConversationSpec(
            turn=recipe.conversation.turn, separator=recipe.conversation.separator
        ),
        files={},
        languages=languages,
        provenance={
            "recipe_sha256": loaded.sha256,
            **{
                f"{name}.architecture_sha256": architecture_sha256(body_of[name].architecture)
                for name in recipe.levels
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
