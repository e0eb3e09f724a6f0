"""The exporter's own description of a model: every figure that its logits depend on.

Field names are those of transformers 4's configurations where one field means the same thing.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

LayerType = Literal["full_attention", "sliding_attention"]
Pooling = Literal["cls", "mean"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Yarn:
    """Stretching of rotary positions to longer texts (arXiv 2309.00071).

    Attributes:
        factor: the stretched context divided by the original one, at least 1.
        original_max_position_embeddings: tokens of the original context.
        beta_fast: rotations over the original context from which a frequency stays as it is.
        beta_slow: rotations below which a frequency is divided by `factor`.
        attention_factor: factor of cosines and sines.
    """

    factor: float
    original_max_position_embeddings: int
    beta_fast: float
    beta_slow: float
    attention_factor: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotary:
    """Rotary positions of one kind of layer: the base of its frequencies, and their stretching."""

    theta: float
    yarn: Yarn | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModernBertArchitecture:
    """A ModernBERT classifier.

    Attributes:
        layer_types: the kind of attention of each layer.
        full_attention: rotary positions of layers that see the whole text; None without any.
        sliding_attention: the same of layers that see a window; None without any.
        local_attention: tokens of that window, both sides together.
    """

    family: Literal["modernbert"] = "modernbert"
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    max_position_embeddings: int
    layer_types: tuple[LayerType, ...]
    full_attention: Rotary | None
    sliding_attention: Rotary | None
    local_attention: int
    norm_eps: float
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    hidden_activation: str
    classifier_pooling: Pooling
    classifier_bias: bool
    classifier_activation: str
    pad_token_id: int | None

    @property
    def pooling(self) -> Pooling:
        """Tokens that the head reads."""
        return self.classifier_pooling

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest text that it reads at once."""
        return self.max_position_embeddings

    def rotary(self, layer_type: LayerType) -> Rotary:
        """Return the rotary positions of one kind of layer that it has."""
        found = self.full_attention if layer_type == "full_attention" else self.sliding_attention
        if found is None:
            raise ValueError(f"no layer of this model is a {layer_type} layer")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class BertArchitecture:
    """A BERT, RoBERTa or XLM-RoBERTa classifier."""

    family: Literal["bert", "roberta", "xlm-roberta"]
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    hidden_act: str
    layer_norm_eps: float
    position_embedding_type: str
    pad_token_id: int | None

    @property
    def pooling(self) -> Pooling:
        """Tokens that the head reads."""
        return "cls"

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest text that it reads at once."""
        if self.family == "bert" or self.pad_token_id is None:
            return self.max_position_embeddings
        # Position ids of the RoBERTas start after the padding id.
        return self.max_position_embeddings - self.pad_token_id - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DebertaV2Architecture:
    """A DeBERTa-v2 or DeBERTa-v3 classifier.

    `conv_kernel_size` is 0 without a convolution; `norm_rel_ebd` and `pos_att_type` hold the
    parts that the configuration's words name.
    """

    family: Literal["deberta-v2"] = "deberta-v2"
    vocab_size: int
    hidden_size: int
    embedding_size: int
    num_hidden_layers: int
    num_attention_heads: int
    attention_head_size: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    hidden_act: str
    layer_norm_eps: float
    relative_attention: bool
    max_relative_positions: int
    position_buckets: int
    pos_att_type: tuple[str, ...]
    share_att_key: bool
    norm_rel_ebd: tuple[str, ...]
    position_biased_input: bool
    conv_kernel_size: int
    conv_groups: int
    conv_act: str
    pooler_hidden_size: int
    pooler_hidden_act: str
    pad_token_id: int | None

    @property
    def pooling(self) -> Pooling:
        """Tokens that the head reads."""
        return "cls"

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest text that it reads at once."""
        return self.max_position_embeddings


Architecture = ModernBertArchitecture | BertArchitecture | DebertaV2Architecture


def architecture_json(architecture: Architecture) -> str:
    """Return the architecture as canonical JSON: one line, keys sorted."""
    return json.dumps(dataclasses.asdict(architecture), sort_keys=True, separators=(",", ":"))


def architecture_sha256(architecture: Architecture) -> str:
    """Return the SHA-256 of the canonical JSON, hexadecimal."""
    return hashlib.sha256(architecture_json(architecture).encode()).hexdigest()
