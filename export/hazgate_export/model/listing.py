"""Choice of the files that a build takes from a published folder. Pure."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

from hazgate_export.errors import SourceError

# The weights' file name without its ending.
Weights = Literal["model", "adapter_model"]

# Files besides configuration and weights that say how a classifier reads and what it answers.
# Nothing else is taken: no code, no copies for other frameworks, no chat templates.
_OPTIONAL = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "*_mapping.json",
    "operating_point.json",
)
# The record of an adapter's training, as `hazgate-export finetune` writes it.
TRAINING_RECORD = "training.json"
_CONFIG = {"model": "config.json", "adapter_model": "adapter_config.json"}
# transformers follows such a file to another base than the one that the recipe names.
_STRAY_IN_BASE = "adapter_config.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """The files to take: `small` ones, and the weights, or the index that names them.

    `pickled` weights are PyTorch's `.bin` files, which must be converted before anything else
    reads them.
    """

    small: tuple[str, ...]
    weights: tuple[str, ...]
    index: str | None
    pickled: bool


def choose_files(names: Collection[str], weights: Weights, *, subject: str) -> Listing:
    """Choose the files to take from a folder or repository that holds `names`.

    Args:
        names: every file's path in the folder.
        weights: "model" for a base or a whole checkpoint, "adapter_model" for an adapter.
        subject: name and place of the source, for messages.

    Raises:
        SourceError: a file is missing or must not be there, or the weights are pickles that
            hazgate does not read; names all of them.
    """
    names = {name for name in names if "/" not in name}
    problems = []
    optional = (*_OPTIONAL, TRAINING_RECORD) if weights == "adapter_model" else _OPTIONAL
    if _CONFIG[weights] not in names:
        problems.append(f"expected {_CONFIG[weights]}, found none")
    if weights == "model" and _STRAY_IN_BASE in names:
        problems.append(
            f"{_STRAY_IN_BASE} is an adapter's file, and libraries follow it to another base than "
            "this one; remove it, or name the folder as an adapter"
        )
    whole, index = f"{weights}.safetensors", f"{weights}.safetensors.index.json"
    small = [
        name
        for name in sorted(names)
        if name == _CONFIG[weights] or any(fnmatchcase(name, known) for known in optional)
    ]
    listing = Listing(small=tuple(small), weights=(), index=None, pickled=False)
    if whole in names:
        listing = Listing(small=tuple(small), weights=(whole,), index=None, pickled=False)
    elif weights == "adapter_model":
        problems.append(_no_weights(names, weights))
    elif index in names:
        listing = Listing(small=tuple(small), weights=(), index=index, pickled=False)
    elif "pytorch_model.bin" in names:
        listing = Listing(
            small=tuple(small), weights=("pytorch_model.bin",), index=None, pickled=True
        )
    elif "pytorch_model.bin.index.json" in names:
        listing = Listing(
            small=tuple(small), weights=(), index="pytorch_model.bin.index.json", pickled=True
        )
    else:
        problems.append(_no_weights(names, weights))
    if problems:
        raise SourceError(f"{subject}: {'; '.join(problems)}")
    return listing


def _no_weights(names: Collection[str], weights: Weights) -> str:
    pickles = sorted(n for n in names if any(fnmatchcase(n, pattern) for pattern in _PICKLES))
    shards = sorted(n for n in names if fnmatchcase(n, f"{weights}-*.safetensors"))
    if shards:
        return f"found {len(shards)} shards without {weights}.safetensors.index.json; add the index"
    if not pickles:
        return f"expected {weights}.safetensors, found no weights"
    allowed = " other than a base's pytorch_model.bin" if weights == "model" else ""
    return (
        f"expected {weights}.safetensors, found only pickles ({', '.join(pickles)}). Pickles can "
        f"run code when they are read, so none{allowed} is read here; save the weights as "
        "safetensors"
    )


def shards_of(text: bytes, index: str, names: Collection[str], *, subject: str) -> dict[str, str]:
    """Read an index of sharded weights: the file of each tensor, by the tensor's name.

    Args:
        text: the index's bytes.
        index: its file name.
        names: every file's path in its folder.
        subject: name and place of the source, for messages.

    Raises:
        SourceError: it is not an index, or names files outside its folder or that are not there.
    """
    try:
        weight_map = json.loads(text)["weight_map"]
        shards = {str(tensor): file for tensor, file in weight_map.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SourceError(f"{subject}: {index} has no table weight_map; take another copy") from (
            error
        )
    ending = ".bin" if index.startswith("pytorch_model") else ".safetensors"
    problems = []
    if not shards:
        problems.append("names no tensor")
    for file in sorted({str(file) for file in shards.values()}):
        if PurePosixPath(file).name != file or "\\" in file or not file.endswith(ending):
            problems.append(f"names {file!r}, expected a {ending} file in its own folder")
        elif file not in names:
            problems.append(f"names {file!r}, which is not there")
    if problems:
        raise SourceError(f"{subject}: {index} " + "; ".join(problems))
    return shards
