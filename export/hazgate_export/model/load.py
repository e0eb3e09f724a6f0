"""A level's model, loaded from its staged files and without a network."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.utils._http import reset_sessions
from peft import PeftModel
from transformers import PreTrainedModel

from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.checkpoint import load_checkpoint
from hazgate_export.model.head import is_multi_label, output_names
from hazgate_export.model.merge import load_adapted
from hazgate_export.model.sources import LevelSources
from hazgate_export.recipe import Recipe


def load_level(sources: LevelSources, recipe: Recipe, name: str) -> PeftModel | PreTrainedModel:
    """Load a level's checkpoint, or its base with the adapter applied, not merged.

    The model has the outputs of every level on the level's body.

    Args:
        sources: the staged files.
        recipe: family and pooling that the model must have.
        name: the level; the model gets labels and activation of all levels on its body.

    Raises:
        SourceError: the files do not fit one another or the recipe.
    """
    if sources.adapter is not None:
        return load_with_adapter(sources, recipe, name)
    labels = output_names(recipe, name, sources)
    with offline():
        return load_checkpoint(
            sources.base,
            recipe.base,
            labels,
            _activation(recipe, name),
            per_token=recipe.levels[name].per_token,
        )


def load_with_adapter(sources: LevelSources, recipe: Recipe, name: str) -> PeftModel:
    """Load the base of a level with its adapter applied; see `load_level`.

    Raises:
        SourceError: the files do not fit one another or the recipe.
    """
    if sources.adapter is None:
        raise SourceError(f"{name}: {sources.base.id} is a checkpoint, expected an adapter")
    labels = output_names(recipe, name, sources)
    with offline():
        return load_adapted(
            sources.base,
            sources.adapter,
            recipe.base,
            labels,
            _activation(recipe, name),
            accept_base=recipe.levels[name].accept_base,
            per_token=recipe.levels[name].per_token,
        )


def _activation(recipe: Recipe, name: str) -> Activation:
    """Return the activation for the model's configuration: a mixed head counts as multi-label."""
    return "sigmoid" if is_multi_label(recipe, name) else "softmax"


@contextmanager
def offline() -> Iterator[None]:
    """Refuse every request of the Hub's client, which transformers and PEFT use, too."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    reset_sessions()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        reset_sessions()
