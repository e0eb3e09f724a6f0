"""The reference that exports are compared with: PyTorch, one text at a time, no padding."""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hazgate.cli.progress import track
from hazgate_export.errors import ParityMissed
from hazgate_export.model.installed_blocks import attention_in_blocks
from hazgate_export.model.load import load_level
from hazgate_export.model.settle import settle
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.proof.subject import Subject, rows_of_case
from hazgate_export.proof.texts import Case
from hazgate_export.recipe import LoadedRecipe, Recipe

# Merging adds the adapter's product to the weights once instead of per text: float rounding only.
_MAX_MERGE_DIFF = 1e-4
# The merged model is checked on every third of the cases up to this length. PyTorch's passes are
# half of a large build, and each variant is measured over all cases later.
_MERGE_MAX_TOKENS, _MERGE_STRIDE = 512, 3
# Eager attention holds the scores of every pair of tokens: 0.8 GB at this length with 12 heads.
# Longer texts are attended to in blocks of rows, which changes rounding only.
MAX_EAGER_TOKENS = 4096


def torch_logits(
    model: torch.nn.Module, cases: Sequence[Case], description: str
) -> NDArray[np.float32]:
    """Compute the logits of each case, run alone and unpadded, so that no mask takes part.

    Cases beyond MAX_EAGER_TOKENS are attended to in blocks.

    Returns:
        Shape [n_rows, n_logits]; see Subject for the rows of a model that labels tokens.
    """
    rows = []
    with torch.inference_mode():
        for case in track(cases, description):
            input_ids = torch.tensor([case.input_ids])
            long = len(case.input_ids) > MAX_EAGER_TOKENS
            with attention_in_blocks(model) if long else nullcontext():
                output = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids))
            rows.append(rows_of_case(case, output.logits[0].float().numpy()))
    return np.concatenate(rows)


def reference_logits(
    adapted: torch.nn.Module, body: Sequence[str], cases: Sequence[Case]
) -> NDArray[np.float32]:
    """Compute the reference's logits of a body's levels, shape [n_rows, n_logits]."""
    return torch_logits(adapted, cases, f"{'+'.join(body)}: PyTorch, adapter applied")


def split_logits(
    recipe: Recipe, body: Sequence[str], logits: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Give each level on a body its columns of `logits` [n_rows, n_logits]."""
    return {name: logits[:, recipe.levels[name].own_columns] for name in body}


def reference_of_levels(
    loaded: LoadedRecipe, levels: Sequence[str], local: LocalSources, cases: Sequence[Case]
) -> dict[str, NDArray[np.float32]]:
    """Fetch the models of levels and compute each level's logits, shape [n_rows, n_labels].

    The recipe says which of them share a body, and so a pass.

    Raises:
        SourceError: base or adapter is not available, must not be used, or disagrees with the
            recipe.
    """
    found: dict[str, NDArray[np.float32]] = {}
    with tempfile.TemporaryDirectory(prefix="hazgate-sources-") as folder:
        sources = fetch_levels(loaded, levels, local, Path(folder))
        recipe = settle(loaded, sources).loaded.recipe
        for body in recipe.bodies():
            wanted = [name for name in body if name in levels]
            if wanted:
                adapted = load_level(sources[wanted[0]], recipe, wanted[0])
                logits = reference_logits(adapted, wanted, cases)
                found.update(split_logits(recipe, wanted, logits))
    return {name: found[name] for name in levels}


def check_merged(merged: torch.nn.Module, subject: Subject) -> None:
    """Check that merging moved no logit of a sample of the cases by more than rounding.

    Raises:
        ParityMissed: it did.
    """
    cases = subject.cases
    short = [i for i, case in enumerate(cases) if len(case.input_ids) <= _MERGE_MAX_TOKENS]
    sample = short[::_MERGE_STRIDE]
    logits = torch_logits(merged, [cases[i] for i in sample], f"{subject.name}: PyTorch, merged")
    rows = subject.rows_of(sample)
    differences = [
        np.abs(logits[:, head.columns] - head.reference[rows]).max() for head in subject.heads
    ]
    moved = float(np.max(differences))
    # Written so that NaN fails.
    if not moved <= _MAX_MERGE_DIFF:
        raise ParityMissed(
            f"{subject.name}: merging moved the logits by {moved:.2e}, at most "
            f"{_MAX_MERGE_DIFF:.0e} is allowed; check the adapter's weights"
        )
