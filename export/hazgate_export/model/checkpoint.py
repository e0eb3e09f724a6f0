"""Whole checkpoints: a classifier with its trained head in one set of files."""

from transformers import PreTrainedModel

from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.config import load_config
from hazgate_export.model.pretrained import load_pretrained
from hazgate_export.model.sources import Fetched
from hazgate_export.recipe import BaseRecipe

_MOST_NAMES = 5
_OF_TEXTS, _OF_TOKENS = "ForSequenceClassification", "ForTokenClassification"


def load_checkpoint(
    checkpoint: Fetched,
    recipe: BaseRecipe,
    labels: tuple[str, ...],
    activation: Activation = "softmax",
    *,
    per_token: bool = False,
) -> PreTrainedModel:
    """Load a checkpoint of a whole classifier: eager attention, float32, eval mode.

    Args:
        checkpoint: staged files of the model, in any floating-point type.
        recipe: family and pooling that the model must have.
        labels: names of the head's outputs, in order; written into the model's configuration.
        activation: activation that the head was trained with; written there, too.
        per_token: True if the head labels each token, False if the text.

    Raises:
        SourceError: it has no trained head, a head of another kind or width, or tensors that its
            architecture has no place for; or another family or pooling than the recipe says.
    """
    loaded = load_pretrained(checkpoint, recipe, labels, activation, per_token=per_token)
    problems = _other_heads(checkpoint, activation, per_token=per_token)
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


def _other_heads(checkpoint: Fetched, activation: Activation, *, per_token: bool) -> list[str]:
    """List what its config.json says against a classifier of this kind with this activation.

    Heads of texts and of tokens have the same tensors.
    """
    config = load_config(checkpoint.directory, checkpoint.id)
    problems = []
    stated = config.architectures
    classes = stated if isinstance(stated, list) else [stated]
    wanted, other = (_OF_TOKENS, _OF_TEXTS) if per_token else (_OF_TEXTS, _OF_TOKENS)
    if stated is not None and not all(str(one).endswith(wanted) for one in classes):
        cure = ""
        if all(str(one).endswith(other) for one in classes):
            cure = f'; write output = "{"text" if per_token else "tokens"}" into the level'
        problems.append(
            f"its config.json says architectures {stated!r:.80}, expected a class that ends in "
            f"{wanted}; labels of tokens, or of pairs, are no labels of a text{cure}"
        )
    if config.problem_type == "regression":
        problems.append(
            "its config.json says problem_type 'regression': its outputs are no labels' logits"
        )
    if config.problem_type == "multi_label_classification" and activation == "softmax":
        problems.append(
            "its config.json says problem_type 'multi_label_classification', the level's "
            'activation is softmax; write activation = "sigmoid" into the level'
        )
    return problems


def _names(names: frozenset[str]) -> str:
    listed = ", ".join(sorted(names)[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{listed} and {more} more" if more > 0 else listed


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
