"""The reference of long texts, computed in blocks of rows, is what eager attention gives."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from hazgate_export.model import installed_blocks
from hazgate_export.model.architecture import ModernBertArchitecture
from hazgate_export.model.config import read_config
from hazgate_export.model.installed import conform, pretrained_config
from hazgate_export.model.installed_blocks import attention_in_blocks
from hazgate_export.proof import reference
from hazgate_export.proof.reference import torch_logits
from tests.support.subjects import random_cases
from tests.support.transformers5 import GOLDENS, values

EAGER_TOKENS = 2048


def architecture(
    case: str,
    positions: int,
    window: int = 128,
    **changes: Any,  # noqa: ANN401
) -> ModernBertArchitecture:
    document = json.loads((GOLDENS / case / "config.json").read_text("utf-8"))
    read = read_config(document, case).architecture
    assert isinstance(read, ModernBertArchitecture)
    kinds = read.layer_types[:2]
    assert {*kinds} == {"full_attention", "sliding_attention"}
    fields: dict[str, Any] = {"layer_types": kinds, **changes}
    return dataclasses.replace(
        read, max_position_embeddings=positions, local_attention=window, **fields
    )


def model_of(architecture: ModernBertArchitecture) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
        pretrained_config(architecture), attn_implementation="eager"
    )
    conform(model, architecture, "test/model")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(values(name, parameter.shape)))
    model.eval()
    return model


def states(model: PreTrainedModel, length: int) -> torch.Tensor:
    """Compute the last layer's state of every token, one text alone."""
    (case,) = random_cases([length], seed=3, vocabulary=96)
    ids = torch.tensor([case.input_ids])
    with torch.inference_mode():
        body = model.base_model
        found: torch.Tensor = body(input_ids=ids, attention_mask=torch.ones_like(ids))[0]
        return found


# YaRN where layers see the whole text, and windows; YaRN in both; windows in another order.
@pytest.mark.parametrize(
    "case",
    [
        "modernbert-yarn",
        pytest.param("modernbert-yarn-everywhere", marks=pytest.mark.slow),
        pytest.param("modernbert-irregular", marks=pytest.mark.slow),
    ],
)
def test_blocks_are_eager_attention_at_2048_tokens(case: str) -> None:
    model = model_of(architecture(case, EAGER_TOKENS))
    eager = states(model, EAGER_TOKENS)
    # 300 rows a block: the last one is shorter, and no block ends where a window does.
    with attention_in_blocks(model, max_scores=300 * EAGER_TOKENS):
        blocks = states(model, EAGER_TOKENS)
    # Every token's state, not only the logits of their mean.
    assert (blocks - eager).abs().max() <= 2e-6 * eager.abs().max()


@pytest.mark.parametrize("length", [1, 2, 16, 17, 31])
@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_blocks_of_any_size_are_eager_attention(length: int, rows: int) -> None:
    model = model_of(architecture("modernbert-yarn", 128, window=16))
    eager = states(model, length)
    with attention_in_blocks(model, max_scores=rows * length):
        blocks = states(model, length)
    assert (blocks - eager).abs().max() <= 2e-6 * eager.abs().max()
    assert torch.equal(states(model, length), eager)


@pytest.mark.parametrize("window", [(7, 8), (8, 7), (8, 9), (9, 8), (-1, -1)])
def test_a_window_of_another_width_is_seen(
    monkeypatch: pytest.MonkeyPatch, window: tuple[int, int]
) -> None:
    model = model_of(architecture("modernbert-yarn", 128, window=16))
    eager = states(model, 90)
    mix = installed_blocks._mix

    def wrong(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        given: tuple[int, int],
        max_scores: int,
    ) -> torch.Tensor:
        return mix(query, key, value, scale, given if given == (-1, -1) else window, max_scores)

    monkeypatch.setattr(installed_blocks, "_mix", wrong)
    with attention_in_blocks(model):
        assert (states(model, 90) - eager).abs().max() > 1e-3


def test_padding_and_batches_are_refused() -> None:
    model = model_of(architecture("modernbert", 128))
    ids = torch.ones(1, 4, dtype=torch.long)
    mask = torch.tensor([[1, 1, 1, 0]])
    with attention_in_blocks(model), pytest.raises(ValueError, match="without padding"):
        model(input_ids=ids, attention_mask=mask)
    with attention_in_blocks(model), pytest.raises(ValueError, match="takes one text"):
        model(input_ids=ids.repeat(2, 1), attention_mask=torch.ones(2, 4, dtype=torch.long))
    with torch.inference_mode():
        model(input_ids=ids, attention_mask=mask)


def test_the_reference_takes_blocks_only_beyond_what_eager_attention_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_of(architecture("modernbert-yarn", 128))
    cases = random_cases([5, 33, 90], seed=1, vocabulary=96)
    eager = torch_logits(model, cases, "eager")
    taken = []

    def count(model: torch.nn.Module) -> object:
        taken.append(1)
        return attention_in_blocks(model)

    monkeypatch.setattr(reference, "attention_in_blocks", count)
    assert np.array_equal(torch_logits(model, cases, "short"), eager)
    assert not taken
    monkeypatch.setattr(reference, "MAX_EAGER_TOKENS", 33)
    assert np.abs(torch_logits(model, cases, "long") - eager).max() <= 1e-6
    assert len(taken) == 1
