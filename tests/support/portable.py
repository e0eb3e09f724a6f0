"""A family's portable float32 graph, with the cases and reference that a half of it is held to."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import TokenizerSpec
from hazgate.engine.session import OrtSession
from hazgate_export.graphs.convert import export_onnx
from hazgate_export.graphs.windows import block_windows
from hazgate_export.model.merge import load_adapted, merge
from hazgate_export.model.sources import fetch
from hazgate_export.parity import Parity
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.texts import Case
from hazgate_export.proof.verify import Boundary, measure
from hazgate_export.recipe import ParityLimits, load_recipe
from tests.support.families import LEVELS, write_family

_LEVEL = "level2"
_N_LABELS = len(LEVELS[_LEVEL])
_TOKENIZER = TokenizerSpec(
    file="tokenizer.json",
    max_tokens=250,
    window_tokens=250,
    overlap_tokens=50,
    close_tokens=None,
    pad_token_id=0,
    special_tokens_in_text="text",
)


@dataclass(frozen=True, kw_only=True)
class Portable:
    """An exported graph and the adapter-applied model's logits of some cases."""

    graph: Path
    recipe: Path
    cases: tuple[Case, ...]
    reference: NDArray[np.float32]

    def measure(self, graph: Path, gate: ParityLimits) -> Parity:
        """The parity of another graph of this model, alone, padded and in mixed batches."""
        session = OrtSession(graph, kind="portable", n_labels=_N_LABELS, threads=2)
        return measure(
            session,
            self.cases,
            self.reference,
            level=_LEVEL,
            variant=graph.stem,
            batching="padded",
            tokenizer=_TOKENIZER,
            boundary=Boundary(positive=None, threshold=0.5),
            gate=gate,
        )


def export_family(folder: Path, name: str) -> Portable:
    """Exports the small random model of a family into `folder`, as a build does."""
    portable = export_dense(folder, name)
    block_windows(portable.graph)
    return portable


def export_dense(folder: Path, name: str) -> Portable:
    """As `export_family`; a window, if there is one, is a mask over everything."""
    _, recipe = write_family(folder, name)
    loaded = load_recipe(recipe)
    base = fetch(loaded.recipe.base.source, id=f"test/{name}", folder=folder, weights="model")
    adapter = fetch(
        loaded.recipe.levels[_LEVEL].adapter, id="adapter", folder=folder, weights="adapter_model"
    )
    random = np.random.default_rng(7)
    cases = tuple(
        Case(
            id=f"{length}-{i}",
            is_text=True,
            input_ids=tuple(int(t) for t in random.integers(5, 6000, size=length)),
        )
        for length in (1, 2, 8, 9, 17, 33, 64, 129)
        for i in range(3)
    )
    adapted = load_adapted(base, adapter, loaded.recipe.base, LEVELS[_LEVEL])
    reference = torch_logits(adapted, cases, "reference")
    graph = folder / "portable.onnx"
    export_onnx(merge(adapted), graph, 18)
    return Portable(graph=graph, recipe=recipe, cases=cases, reference=reference)
