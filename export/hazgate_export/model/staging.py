"""A private folder for each source, which holds the listed files and nothing else.

Libraries open files that nobody named: an adapter beside a base, a template beside a tokenizer.
From a staged folder they can only read what was listed, and the digests are of these very files.
"""

import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError, safe_open

from hazgate.documents.files import sha256
from hazgate_export.errors import SourceError
from hazgate_export.model.listing import Listing, Weights, choose_files, shards_of
from hazgate_export.model.pickles import convert_pickle


class SourceFiles(Protocol):
    """A folder or repository: the names of its files, and a way to bring one here."""

    @property
    def names(self) -> frozenset[str]:
        """Every file's path in the folder."""

    def bring(self, name: str) -> Path:
        """Return a file's path on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFolder:
    """The files of a directory on this machine; it may consist of links."""

    directory: Path

    @property
    def names(self) -> frozenset[str]:
        """Every file's name in the directory itself."""
        return frozenset(path.name for path in self.directory.iterdir() if not path.is_dir())

    def bring(self, name: str) -> Path:
        """Return a file's path."""
        return self.directory / name


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """The contents of a staged folder.

    Attributes:
        files: SHA-256 of each file that was read, by its published name.
        weights: the published names of the weights among them.
        converted: SHA-256 of the safetensors file that stands for a pickled one, by the pickled
            file's name.
    """

    files: Mapping[str, str]
    weights: tuple[str, ...]
    converted: Mapping[str, str] = field(default_factory=dict)


def stage(place: SourceFiles, weights: Weights, folder: Path, *, subject: str) -> Staged:
    """Bring the files that a build takes from `place` into the empty `folder`.

    Small files are copied, weights are linked. Pickled weights are converted first.

    Args:
        place: what the recipe names.
        weights: "model" for a base or a whole checkpoint, "adapter_model" for an adapter.
        folder: receives the files.
        subject: name and place of the source, for messages.

    Raises:
        SourceError: a file is missing, damaged or must not be used; names it.
    """
    names = place.names
    listing = choose_files(names, weights, subject=subject)
    files = {}
    # Weights come last: where they are, everything else is.
    for name in (*listing.small, *filter(None, [listing.index])):
        path = _regular(place.bring(name), name, subject)
        shutil.copyfile(path, folder / name)
        files[name] = sha256(folder / name)
    _refuse_code(folder, subject)
    shards = _shards(listing, folder, names, subject)
    chosen = listing.weights or tuple(sorted(set(shards.values())))
    converted = {}
    for name in chosen:
        path = _regular(place.bring(name), name, subject)
        if listing.pickled:
            conversion = convert_pickle(path, subject=f"{subject}: {name}")
            files[name] = conversion.pickle_sha256
            converted[name] = conversion.sha256
            _link(conversion.file, folder / _converted_name(name))
        else:
            _link(path, folder / name)
            files[name] = sha256(folder / name)
    if listing.pickled and listing.index is not None:
        (folder / listing.index).unlink()
        shards = {tensor: _converted_name(file) for tensor, file in shards.items()}
        index = {"metadata": {}, "weight_map": shards}
        (folder / f"{weights}.safetensors.index.json").write_text(json.dumps(index))
    _check_tensors(folder, shards, subject)
    return Staged(files=files, weights=chosen, converted=converted)


def _regular(path: Path, name: str, subject: str) -> Path:
    """Resolve a file's links, and refuse what is not a regular file in the end."""
    try:
        resolved = path.resolve(strict=True)
        if stat.S_ISREG(resolved.stat().st_mode):
            return resolved
    # Python before 3.13 raises RuntimeError for a loop of links.
    except (OSError, RuntimeError) as error:
        raise SourceError(f"{subject}: {name} cannot be read: {error}") from error
    raise SourceError(f"{subject}: expected {name} to be a regular file, it is not")


def _link(source: Path, target: Path) -> None:
    """Link a large file: to the file itself where that is possible, else to its name."""
    try:
        os.link(source, target)
    except OSError:
        target.symlink_to(source)


def _converted_name(pickle: str) -> str:
    if pickle == "pytorch_model.bin":
        return "model.safetensors"
    return f"{pickle.removesuffix('.bin')}.safetensors"


def _shards(listing: Listing, folder: Path, names: frozenset[str], subject: str) -> dict[str, str]:
    if listing.index is None:
        return {}
    text = (folder / listing.index).read_bytes()
    return shards_of(text, listing.index, names, subject=subject)


def _check_tensors(folder: Path, shards: Mapping[str, str], subject: str) -> None:
    """Check that weights are whole, and that shards hold what the index says."""
    problems = [
        problem
        for file in sorted(folder.glob("*.safetensors"))
        if (problem := _tensor_problem(file, shards)) is not None
    ]
    if problems:
        raise SourceError(f"{subject}: " + "; ".join(problems))


def _tensor_problem(file: Path, shards: Mapping[str, str]) -> str | None:
    try:
        with safe_open(file, framework="numpy") as opened:
            tensors = set(opened.keys())
    except (SafetensorError, OSError) as error:
        return f"{file.name} is damaged or cut off ({error}); download it again"
    listed = {tensor for tensor, shard in shards.items() if shard == file.name}
    if not shards or listed == tensors:
        return None
    missing, foreign = sorted(listed - tensors), sorted(tensors - listed)
    return (
        f"{file.name} is not the shard of its index: {len(missing)} tensors missing "
        f"{missing[:3]}, {len(foreign)} not listed {foreign[:3]}"
    )


def _refuse_code(folder: Path, subject: str) -> None:
    """Refuse configurations that are no JSON tables, or that ask for code of their own."""
    problems = []
    for file in sorted(folder.glob("*config.json")):
        try:
            config = json.loads(file.read_bytes())
        except ValueError as error:
            problems.append(f"{file.name} is not JSON ({error})")
            continue
        if not isinstance(config, dict):
            problems.append(f"{file.name}: expected a JSON object, got {type(config).__name__}")
        elif "auto_map" in config:
            problems.append(
                f"its {file.name} asks for code of its own (auto_map, trust_remote_code); hazgate "
                "runs no code that comes with a model, choose another"
            )
    if problems:
        raise SourceError(f"{subject}: " + "; ".join(problems))
