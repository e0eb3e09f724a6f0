"""mmBERT at a small size: the configuration of the stand-in, but for its sizes."""

from transformers import ModernBertConfig

from hazgate_export.model.standin import mmbert_config


def small_mmbert(
    *, vocabulary: int, n_layers: int, n_positions: int, window: int
) -> ModernBertConfig:
    """Return the configuration of mmBERT with 32 channels in 4 heads.

    Args:
        vocabulary: rows of the embedding table.
        n_layers: every third one, from the first on, sees the whole text.
        n_positions: tokens of the longest text.
        window: tokens that the other layers see.
    """
    small = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
        "max_position_embeddings": n_positions,
        "local_attention": window,
    }
    return ModernBertConfig.from_dict(mmbert_config().to_dict() | small)
