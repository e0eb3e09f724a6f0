"""A family's portable float32 graph, with the subject that a half of it is measured on."""

from dataclasses import dataclass
from pathlib import Path

from hazgate_export.graphs.convert import export_onnx
from hazgate_export.graphs.windows import block_windows
from hazgate_export.model.load import load_with_adapter
from hazgate_export.model.merge import merge
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.parity import Parity
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.subject import Subject
from hazgate_export.recipe import ParityLimits
from hazgate_export.recipe_file import load_recipe
from tests.support.families import write_family
from tests.support.subjects import judge_graph, random_cases, subject_of

_LEVEL = "level2"


@dataclass(frozen=True, kw_only=True)
class Portable:
    """An exported graph and its subject, whose reference is the adapter-applied model."""

    graph: Path
    recipe: Path
    subject: Subject

    def measure(self, graph: Path, limits: ParityLimits) -> Parity:
        """Measure another graph of this model, alone, padded and in mixed batches."""
        return judge_graph(
            self.subject, graph, limits, kind="portable", batching="padded", threads=1
        )


def export_family(folder: Path, name: str) -> Portable:
    """Export the small random model of a family into `folder`, as a build does."""
    portable = export_dense(folder, name)
    block_windows(portable.graph)
    return portable


def export_dense(folder: Path, name: str) -> Portable:
    """Export as `export_family`; a local window, if any, is a mask over the whole text."""
    _, recipe = write_family(folder, name)
    loaded = load_recipe(recipe)
    sources = fetch_levels(loaded, [_LEVEL], LocalSources(), folder / "sources")[_LEVEL]
    lengths = (1, 2, 8, 9, 17, 33, 64, 129)
    cases = random_cases(lengths, seed=7, vocabulary=6000, each=3)
    adapted = load_with_adapter(sources, loaded.recipe, _LEVEL)
    reference = torch_logits(adapted, cases, "reference")
    graph = folder / "portable.onnx"
    export_onnx(merge(adapted), graph, 18)
    return Portable(graph=graph, recipe=recipe, subject=subject_of(cases, reference))
