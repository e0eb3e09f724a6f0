"""Base and LoRA adapter: applied by PEFT as the reference, then merged into one model."""

import warnings
from typing import Any

from peft import LoraConfig, PeftModel
from peft.utils.save_and_load import get_peft_model_state_dict
from transformers import PreTrainedModel

from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.adapter import PREFIX, AdapterFiles, adapter_problems, read_adapter
from hazgate_export.model.pretrained import Pretrained, load_pretrained
from hazgate_export.model.sources import Fetched
from hazgate_export.recipe import BaseRecipe


def load_adapted(
    base: Fetched,
    adapter: Fetched,
    recipe: BaseRecipe,
    labels: tuple[str, ...],
    activation: Activation = "softmax",
    *,
    accept_base: str | None = None,
    per_token: bool = False,
) -> PeftModel:
    """Load the base with its adapter applied, not merged: eager attention, float32, eval mode.

    Args:
        base: directory of the base model.
        adapter: directory of a PEFT LoRA adapter for classification.
        recipe: family and pooling that the base must have.
        labels: names of the head's outputs, in order; written into the model's configuration.
        activation: activation that the head was trained with; written there, too.
        accept_base: another name of the base that the adapter may give.
        per_token: True if the head labels each token, False if the text.

    Raises:
        SourceError: the adapter is for another base, has a field that hazgate does not compute,
            has no trained head, or has another number of labels or other tensors than expected;
            or the base has another family or pooling than the recipe says.
    """
    files = read_adapter(adapter)
    problems = adapter_problems(files, base, accept_base, labels, per_token=per_token)
    if problems:
        raise SourceError(f"{adapter.id} cannot be merged: " + "; ".join(problems))
    model = _load_base(base, files, recipe, labels, activation, per_token=per_token)
    with warnings.catch_warnings():
        # PEFT only warns of missing tensors; the check below makes them an error.
        warnings.simplefilter("ignore", UserWarning)
        try:
            adapted = PeftModel.from_pretrained(
                model, adapter.directory, config=_peft_config(files), is_trainable=False
            )
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"{adapter.id} does not fit {base.id}: {error}") from error
        # Without embeddings, PEFT has no reason to ask the Hub for the base.
        expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    found = set(files.shapes)
    if expected != found:
        missing, foreign = sorted(expected - found), sorted(found - expected)
        raise SourceError(
            f"{adapter.id}: its tensors are not those of its configuration on {base.id}: "
            f"{len(missing)} missing {missing[:3]}, {len(foreign)} foreign {foreign[:3]}"
        )
    return adapted.float().eval()


def merge(adapted: PeftModel) -> PreTrainedModel:
    """Add the adapter's products to the weights and return the plain model.

    Merges in place: `adapted` must not be used afterwards.

    Raises:
        SourceError: merging gave a weight that is not finite, or the base has no place for one.
    """
    try:
        merged: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError) as error:
        raise SourceError(f"the adapter cannot be merged, train it again: {error}") from error
    merged.eval()
    return merged


def _peft_config(files: AdapterFiles) -> LoraConfig:
    """Make PEFT's configuration of the fields that it computes with, and of no other."""
    fields: dict[str, Any] = {**files.computed, "task_type": files.config.get("task_type")}
    return LoraConfig(base_model_name_or_path=files.base, inference_mode=True, **fields)


def _load_base(
    base: Fetched,
    files: AdapterFiles,
    recipe: BaseRecipe,
    labels: tuple[str, ...],
    activation: Activation,
    *,
    per_token: bool,
) -> PreTrainedModel:
    loaded = load_pretrained(base, recipe, labels, activation, per_token=per_token)
    # A base with a head of another width counts as one without a head; the adapter must bring it.
    new = [
        name
        for name in sorted(loaded.missing | loaded.misshapen.keys())
        if PREFIX + name not in files.shapes
    ]
    if new:
        raise SourceError(
            f"{base.id} with {files.id}: neither has trained values for "
            f"{', '.join(_untrained(loaded, name) for name in new)}; they would be newly "
            "initialised"
        )
    return loaded.model


def _untrained(loaded: Pretrained, name: str) -> str:
    """Describe a tensor that the base has not, or has in another shape."""
    if name not in loaded.misshapen:
        return f"{name} (not in the base)"
    found, needed = loaded.misshapen[name]
    return f"{name} ({_by(found)} in the base, {_by(needed)} needed)"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
