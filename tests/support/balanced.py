"""A family's small model, balanced for int8, and its own answers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from hazgate_export.author.families import BalancedWeights, balance_int8, read_weights
from hazgate_export.model.config import load_config
from hazgate_export.model.load import load_with_adapter
from hazgate_export.model.merge import merge
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.subject import Subject
from hazgate_export.recipe_file import load_recipe
from tests.support.families import write_family
from tests.support.subjects import random_cases, subject_of

OPSET = 18


@dataclasses.dataclass(frozen=True, kw_only=True)
class BalancedFamily:
    """The balanced weights, and the cases with PyTorch's answers."""

    weights: BalancedWeights
    subject: Subject


def balanced_family(folder: Path, name: str, lengths: Sequence[int]) -> BalancedFamily:
    """Write a family's stand-in to `folder`, merge its Level 2 and balance it."""
    _, recipe = write_family(folder, name)
    loaded = load_recipe(recipe)
    fetched = fetch_levels(loaded, ["level2"], LocalSources(), folder / "sources")
    base = fetched["level2"].base
    model = merge(load_with_adapter(fetched["level2"], loaded.recipe, "level2"))
    cases = random_cases(lengths, seed=3, vocabulary=6000)
    architecture = load_config(base.directory, base.id).architecture
    return BalancedFamily(
        weights=balance_int8(
            read_weights(model, architecture),
            [case.input_ids for case in cases],
            OPSET,
            folder,
            threads=1,
        ),
        subject=subject_of(cases, torch_logits(model, cases, name)),
    )
