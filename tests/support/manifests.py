"""A small valid manifest as plain data, for tests to spoil."""

import json
from typing import Any

from tests.support.tiny import LEVELS

SHA256 = "0123456789abcdef" * 4
FILES = ("tokenizer.json", "weights/shared.bin", "level1-fp32.onnx", "level2-fp32.onnx")


def manifest_data() -> dict[str, Any]:
    """Return a new valid manifest of two levels with one variant each."""
    return {
        "schema_version": 1,
        "name": "small",
        "description": "",
        "default_variant": "fp32",
        "levels": {name: _level(name, labels) for name, labels in LEVELS.items()},
        "cascade": {
            "gate": "level1",
            "positive_label": "unsafe",
            "threshold": 0.5,
            "threshold_source": "default",
            "hazards": "level2",
        },
        "conversation": {"turn": "{role}: {content}", "separator": "\n"},
        "files": {name: {"sha256": SHA256, "size_bytes": 1} for name in FILES},
        "provenance": {"torch": "2"},
        "canaries": None,
    }


def spell(data: object) -> bytes:
    """Return the JSON text of `data`."""
    return json.dumps(data).encode()


def _level(name: str, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "labels": list(labels),
        "activation": "softmax",
        "family": "bert",
        "pooling": "cls",
        "tokenizer": {
            "file": "tokenizer.json",
            "max_tokens": 64,
            "window_tokens": 64,
            "overlap_tokens": 16,
            "close_tokens": None,
            "pad_token_id": 0,
            "special_tokens_in_text": "text",
        },
        "base": {"id": "test/base", "revision": None, "sha256": SHA256},
        "adapter": {"id": f"test/{name}", "revision": "main", "sha256": SHA256},
        "variants": {
            "fp32": {
                "graph": f"{name}-fp32.onnx",
                "data": ["weights/shared.bin"],
                "precision": "fp32",
                "scheme": "none",
                "execution_providers": ["CPUExecutionProvider"],
                "batching": "padded",
                "kind": "portable",
                "parity": {
                    "n_texts": 60,
                    "max_abs_logit_diff": 1e-6,
                    "max_invariance_diff": 1e-6,
                    "decisions_changed": 0,
                },
            }
        },
    }
