"""Base and LoRA adapter: applied by PEFT as the reference, then merged into one model."""

import json
import warnings
from collections.abc import Mapping

from peft import PeftModel
from peft.utils.save_and_load import get_peft_model_state_dict
from safetensors import safe_open
from transformers import PreTrainedModel

from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.pretrained import load_pretrained
from hazgate_export.model.sources import Fetched
from hazgate_export.recipe import BaseRecipe

_PREFIX = "base_model.model."
# The last linear layer of a classification head, as the supported families name it.
_HEAD_WEIGHTS = ("classifier.weight", "classifier.out_proj.weight", "score.weight")


def load_adapted(
    base: Fetched,
    adapter: Fetched,
    recipe: BaseRecipe,
    labels: tuple[str, ...],
    activation: Activation = "softmax",
) -> PeftModel:
    """Load the base with its adapter applied, not merged: eager attention, float32, eval mode.

    Args:
        base: directory of the base model.
        adapter: directory of a PEFT LoRA adapter for sequence classification.
        recipe: family and pooling that the base must have.
        labels: names of the head's outputs, in order; written into the model's configuration.
        activation: activation that the head was trained with; written there, too.

    Raises:
        SourceError: the adapter is for another base, has no trained head, or has another number
            of labels or other tensors than expected; or the base has another family or pooling
            than the recipe says.
    """
    shapes = _adapter_shapes(adapter)
    _check_adapter(adapter, base, shapes, labels)
    model = _load_base(base, adapter, recipe, shapes, labels, activation)
    with warnings.catch_warnings():
        # PEFT only warns of missing tensors; the check below makes them an error.
        warnings.simplefilter("ignore", UserWarning)
        try:
            adapted = PeftModel.from_pretrained(model, adapter.directory, is_trainable=False)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{adapter.id} does not fit {base.id}: {error}") from error
    # Without embeddings, PEFT has no reason to ask the Hub for the base.
    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if expected != set(shapes):
        missing, foreign = sorted(expected - set(shapes)), sorted(set(shapes) - expected)
        raise SourceError(
            f"{adapter.id}: its tensors are not those of its configuration on {base.id}: "
            f"{len(missing)} missing {missing[:3]}, {len(foreign)} foreign {foreign[:3]}"
        )
    return adapted.float().eval()


def merge(adapted: PeftModel) -> PreTrainedModel:
    """Add the adapter's products to the weights and return the plain model.

    Merges in place: `adapted` must not be used afterwards.

    Raises:
        SourceError: merging gave a weight that is not finite.
    """
    try:
        merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise SourceError(f"the adapter cannot be merged, train it again: {error}") from error
    merged.eval()
    return merged


def _adapter_shapes(adapter: Fetched) -> dict[str, tuple[int, ...]]:
    with safe_open(adapter.directory / "adapter_model.safetensors", framework="pt") as file:
        return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118


def _check_adapter(
    adapter: Fetched,
    base: Fetched,
    shapes: Mapping[str, tuple[int, ...]],
    labels: tuple[str, ...],
) -> None:
    config = json.loads((adapter.directory / "adapter_config.json").read_text(encoding="utf-8"))
    problems = []
    if config.get("peft_type") != "LORA":
        problems.append(f"expected a LORA adapter, got {config.get('peft_type')}")
    if config.get("task_type") != "SEQ_CLS":
        problems.append(f"expected task_type SEQ_CLS, got {config.get('task_type')}")
    if config.get("base_model_name_or_path") != base.id:
        problems.append(
            f"it was trained on {config.get('base_model_name_or_path')}, the recipe's base is "
            f"{base.id}"
        )
    heads = [shapes[_PREFIX + name] for name in _HEAD_WEIGHTS if _PREFIX + name in shapes]
    if not heads:
        problems.append("it has no trained classification head (modules_to_save)")
    problems.extend(
        f"its head has {shape[0]} outputs, the recipe has {len(labels)} labels"
        for shape in heads
        if shape[0] != len(labels)
    )
    if problems:
        raise SourceError(f"{adapter.id} cannot be merged: " + "; ".join(problems))


def _load_base(
    base: Fetched,
    adapter: Fetched,
    recipe: BaseRecipe,
    shapes: Mapping[str, tuple[int, ...]],
    labels: tuple[str, ...],
    activation: Activation,
) -> PreTrainedModel:
    loaded = load_pretrained(base, recipe, labels, activation)
    # A base with a head of another width counts as one without a head; the adapter must bring it.
    untrained = loaded.missing | loaded.misshapen.keys()
    new = sorted(key for key in untrained if _PREFIX + key not in shapes)
    if new:
        raise SourceError(
            f"{base.id} with {adapter.id}: neither has trained values for {new}; they would be "
            "newly initialised"
        )
    return loaded.model
