"""An `operating_point.json` as Vela's exporter writes it, for the files beside it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOKENIZATION = (
    "Tokenize once without truncation; slice original content token IDs and restore the tokenizer "
    "special-token envelope for each window."
)


def operating_point(
    folder: Path,
    *,
    labels: Sequence[str],
    thresholds: Sequence[float],
    content_tokens: int,
    overlap: int,
    prefix: Sequence[int] = (2,),
    suffix: Sequence[int] = (1,),
) -> dict[str, Any]:
    """Return the document for the checkpoint in `folder`."""
    digests = {
        field: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for field, name in (
            ("model_weights_sha256", "model.safetensors"),
            ("model_config_sha256", "config.json"),
            ("tokenizer_sha256", "tokenizer.json"),
        )
    }
    return {
        "version": 2,
        **digests,
        "score_type": "independent_sigmoid",
        "labels": list(labels),
        "thresholds": list(thresholds),
        "comparison": "score >= threshold",
        "input_policy": {
            "strategy": "overlapping_content_windows",
            "window_tokens_including_special_tokens": content_tokens + len(prefix) + len(suffix),
            "content_tokens_per_window": content_tokens,
            "stride_content_tokens": content_tokens - overlap,
            "overlap_content_tokens": overlap,
            "max_document_tokens_including_special_tokens": 32768,
            "aggregation": "per-label maximum sigmoid over all covering windows",
            "positions": "reset for each window",
            "padding_side": "right",
            "pad_token_id": 0,
            "padding_attention_mask": 0,
            "special_prefix_ids": list(prefix),
            "special_suffix_ids": list(suffix),
            "reference_window_batch_size": 4,
            "batch_order": "ascending actual window token count, stable original order on ties",
            "tokenization": TOKENIZATION,
            "overflow": "reject",
        },
        "executions": [
            {"provider": "candle", "precision": "float32", "weights_file": "model.safetensors"}
        ],
    }


def write_operating_point(folder: Path, document: dict[str, Any]) -> None:
    """Write the document beside the checkpoint."""
    text = json.dumps(document, indent=2) + "\n"
    (folder / "operating_point.json").write_text(text, encoding="utf-8")
