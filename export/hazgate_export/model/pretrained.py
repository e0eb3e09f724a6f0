"""Files of a model, loaded by transformers: eager attention, float32."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from safetensors import safe_open
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.config import load_config
from hazgate_export.model.installed import conform, pretrained_config
from hazgate_export.model.sources import Fetched
from hazgate_export.quiet import quiet_transformers
from hazgate_export.recipe import BaseRecipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """A loaded classifier, and the tensors that its files and its architecture do not share.

    transformers fills `missing` and `misshapen` tensors with random numbers, and drops
    `unexpected` ones. `misshapen` has the shapes in the file and in the architecture.
    """

    model: PreTrainedModel
    missing: frozenset[str]
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unexpected: frozenset[str]


def load_pretrained(
    source: Fetched,
    recipe: BaseRecipe,
    labels: tuple[str, ...],
    activation: Activation,
    *,
    per_token: bool = False,
) -> Pretrained:
    """Load a classifier with one output per label from the files of `source`.

    Args:
        source: a directory with configuration and safetensors weights.
        recipe: family and pooling that the model must have.
        labels: names of the head's outputs, in order; written into the model's configuration.
        activation: activation that the head was trained with; written there, too.
        per_token: True if the head labels each token, False if the text.

    Raises:
        SourceError: the files cannot be loaded, or have another family or pooling; or see
            `read_config` and `conform`.
    """
    architecture = load_config(source.directory, source.id).architecture
    if architecture.family != recipe.family:
        raise SourceError(
            f"{source.id}: the recipe says family {recipe.family}, its config.json says "
            f"{architecture.family}"
        )
    if architecture.pooling != recipe.pooling:
        raise SourceError(
            f"{source.id}: the recipe says {recipe.pooling} pooling, its config.json "
            f"{architecture.pooling}"
        )
    config = pretrained_config(architecture)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    # Another tool that opens the merged model must not take the wrong loss or activation.
    kind = "multi" if activation == "sigmoid" else "single"
    config.problem_type = None if per_token else f"{kind}_label_classification"
    of_kind = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
    try:
        with quiet_transformers():
            model, loading = of_kind.from_pretrained(
                source.directory,
                config=config,
                attn_implementation="eager",
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                # The caller decides about a head of another width.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceError(f"{source.id} cannot be loaded: {error}") from error
    conform(model, architecture, source.id)
    return Pretrained(
        model=model,
        missing=frozenset(loading["missing_keys"]),
        misshapen=_misshapen(source, model, loading["mismatched_keys"]),
        unexpected=frozenset(loading["unexpected_keys"]),
    )


def _misshapen(
    source: Fetched, model: PreTrainedModel, mismatched: Iterable[str | tuple[object, ...]]
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Look up the shapes of mismatched tensors in the files and in the model.

    transformers 4 lists names; others list a name with its shapes.
    """
    names = {entry if isinstance(entry, str) else str(entry[0]) for entry in mismatched}
    if not names:
        return {}
    needed = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found: dict[str, tuple[int, ...]] = {}
    for file in sorted(source.directory.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in names & set(tensors.keys()):
                found[name] = tuple(tensors.get_slice(name).get_shape())
    return {name: (found.get(name, ()), needed.get(name, ())) for name in names}
