"""Outputs of a model's frozen lowest layers, computed once, and the layers above them alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor

from hazgate.cli.progress import track

_BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class FrozenStates:
    """Hidden states of texts after the frozen layers, in a file.

    Attributes:
        values: float16 [tokens of all texts, hidden].
        starts: first row of each text in `values`, and the end of the last.
    """

    values: NDArray[np.float16]
    starts: tuple[int, ...]

    def pad(self, texts: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the states of some texts, float32 [texts, longest, hidden], and their mask."""
        parts = [self.values[self.starts[i] : self.starts[i + 1]] for i in texts]
        longest = max(map(len, parts))
        states = np.zeros((len(parts), longest, self.values.shape[1]), np.float32)
        mask = np.zeros((len(parts), longest), np.int64)
        for row, part in enumerate(parts):
            states[row, : len(part)] = part
            mask[row, : len(part)] = 1
        return torch.from_numpy(states), torch.from_numpy(mask)


def freeze(
    model: PeftModel, encoded: Sequence[Sequence[int]], n_layers: int, file: Path, name: str
) -> FrozenStates:
    """Compute the states of texts after the lowest `n_layers`, in evaluation mode.

    Args:
        model: a BERT with an adapter in none of these layers.
        encoded: token ids of each text.
        n_layers: number of layers to compute.
        file: receives the states; it may be removed as soon as they are no longer used.
        name: the run's name, for the progress.
    """
    bert = _encoder(model)
    starts = np.concatenate([[0], np.cumsum([len(ids) for ids in encoded])]).tolist()
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.memmap(
        file, np.float16, "w+", shape=(starts[-1], cast(int, bert.config.hidden_size))
    )
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    batches = [order[i : i + _BATCH_SIZE] for i in range(0, len(order), _BATCH_SIZE)]
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for batch in track(batches, f"{name}: frozen layers"):
            longest = max(len(encoded[i]) for i in batch)
            # The pad's id does not matter: no token attends to it, and its states are not kept.
            ids = torch.tensor([[*encoded[i], *[0] * (longest - len(encoded[i]))] for i in batch])
            lengths = torch.tensor([len(encoded[i]) for i in batch])
            mask = (torch.arange(longest)[None] < lengths[:, None]).long()
            hidden = bert.embeddings(input_ids=ids)
            hidden = _run(bert, bert.encoder.layer[:n_layers], hidden, mask)
            for row, i in enumerate(batch):
                values[starts[i] : starts[i + 1]] = hidden[row, : len(encoded[i])].half().numpy()
    model.train(was_training)
    return FrozenStates(values=values, starts=tuple(starts))


def logits_above(model: PeftModel, states: Tensor, mask: Tensor, n_layers: int) -> Tensor:
    """Compute the logits from the states after `n_layers`, as the whole model does.

    Args:
        model: a BERT for sequence classification with an adapter.
        states: float32 [texts, longest, hidden].
        mask: 1 for a token, 0 for padding, int64 [texts, longest].
        n_layers: number of layers that the states have passed.

    Returns:
        Logits, [texts, labels].
    """
    bert, classifier = _encoder(model), cast(Any, model.get_base_model())
    hidden = _run(bert, bert.encoder.layer[n_layers:], states, mask)
    logits: Tensor = classifier.classifier(classifier.dropout(bert.pooler(hidden)))
    return logits


def _encoder(model: PeftModel) -> Any:  # noqa: ANN401 - transformers types its modules as such
    return cast(Any, model.get_base_model()).base_model


def _run(bert: Any, layers: Any, hidden: Tensor, mask: Tensor) -> Tensor:  # noqa: ANN401
    extended = bert.get_extended_attention_mask(mask, tuple(mask.shape))
    for layer in layers:
        hidden = layer(hidden, extended)[0]
    return hidden
