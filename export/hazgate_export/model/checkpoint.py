"""Whole checkpoints: a classifier with its trained head in one set of files."""

from transformers import PreTrainedModel

from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.pretrained import load_pretrained
from hazgate_export.model.sources import Fetched
from hazgate_export.recipe import BaseRecipe

_MOST_NAMES = 5


def load_checkpoint(
    checkpoint: Fetched,
    recipe: BaseRecipe,
    labels: tuple[str, ...],
    activation: Activation = "softmax",
) -> PreTrainedModel:
    """Load a checkpoint of a whole classifier: eager attention, float32, eval mode.

    Args:
        checkpoint: staged files of the model, in any floating-point type.
        recipe: family and pooling that the model must have.
        labels: names of the head's outputs, in order; written into the model's configuration.
        activation: activation that the head was trained with; written there, too.

    Raises:
        SourceError: it has no trained head, a head of another width, or tensors that its
            architecture has no place for; or another family or pooling than the recipe says.
    """
    loaded = load_pretrained(checkpoint, recipe, labels, activation)
    problems = []
    if loaded.missing:
        problems.append(
            f"it has no trained values for {_names(loaded.missing)}, which would be newly "
            "initialised; a model without a trained head is a base, which needs an adapter"
        )
    problems += [
        f"its {name} is {_by(found)}, {len(labels)} labels need {_by(needed)}"
        for name, (found, needed) in sorted(loaded.misshapen.items())
    ]
    if loaded.unexpected:
        problems.append(
            f"its architecture has no place for {_names(loaded.unexpected)}, which would be left "
            "out"
        )
    if problems:
        raise SourceError(f"{checkpoint.id} is no classifier as described: " + "; ".join(problems))
    model: PreTrainedModel = loaded.model.float()
    model.eval()
    return model


def _names(names: frozenset[str]) -> str:
    listed = ", ".join(sorted(names)[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{listed} and {more} more" if more > 0 else listed


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
