"""A bundle written to the Hugging Face Hub as one commit, and compared with what arrived."""

import hashlib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.hub import REPOSITORY, HubReference
from hazgate.bundle.manifest import MANIFEST_FILE
from hazgate.bundle.places import is_clutter
from hazgate.documents.problems import list_problems
from hazgate.errors import IntegrityError, OutputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile


def push_bundle(bundle: Bundle, repository: str, *, private: bool) -> HubReference:
    """Write `bundle` to the Hub as one commit that holds its files and no others.

    A repository that does not exist is created. An older bundle there is replaced; its commit
    stays in the history.

    Args:
        bundle: a bundle of which every file was verified.
        repository: owner/name.
        private: create the repository for its owner alone; an existing one stays as it is.

    Raises:
        OutputError: the name is none, the Hub cannot be reached or refuses, or the repository
            holds something else than a bundle.
        IntegrityError: the Hub has other bytes than were sent.
    """
    from huggingface_hub import HfApi

    if not REPOSITORY.fullmatch(repository):
        raise OutputError(f"{repository!r}: expected owner/name")
    names = (MANIFEST_FILE, *bundle.manifest.files)
    api = HfApi()
    with _says_why(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        parent = api.model_info(repository).sha
        there = {file.path for file in _files(api, repository, parent)}
        if there and MANIFEST_FILE not in there and not all(map(is_clutter, there)):
            raise OutputError(
                f"{repository} holds files that are no bundle, and is not overwritten; name a new "
                "or an empty repository"
            )
        gone = sorted(name for name in there - set(names) if not is_clutter(name))
        commit = _commit(api, bundle, repository, names, gone, parent)
        arrived = {file.path: file for file in _files(api, repository, commit)}
    if problems := list(_differences(bundle, names, arrived)):
        raise IntegrityError(
            f"{repository} at {commit} is not the bundle that was sent:{list_problems(problems)}\n"
            "Push it again; do not serve that commit."
        )
    return HubReference(repository=repository, commit=commit)


def _commit(
    api: "HfApi",
    bundle: Bundle,
    repository: str,
    names: Iterable[str],
    gone: Iterable[str],
    parent: str | None,
) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=bundle.file(name)) for name in names
    ]
    deletions = [CommitOperationDelete(path_in_repo=name, is_folder=False) for name in gone]
    with warnings.catch_warnings():
        # The bundle's README is for people and has no metadata; the Hub advises some.
        warnings.filterwarnings("ignore", message="Warnings while validating metadata")
        done = api.create_commit(
            repository,
            [*additions, *deletions],
            commit_message=f"{bundle.manifest.name} {bundle.digest[:12]}",
            parent_commit=parent,
        )
    return done.oid


def _files(api: "HfApi", repository: str, revision: str | None) -> "Iterator[RepoFile]":
    from huggingface_hub.hf_api import RepoFile

    for entry in api.list_repo_tree(repository, recursive=True, revision=revision):
        if isinstance(entry, RepoFile):
            yield entry


def _differences(
    bundle: Bundle, names: Iterable[str], arrived: "dict[str, RepoFile]"
) -> Iterator[str]:
    for name in names:
        file = arrived.pop(name, None)
        if file is None:
            yield f"{name}: missing"
        elif (file.lfs.sha256 if file.lfs else file.blob_id) != _expected(bundle, name, file):
            yield f"{name}: other bytes"
    for name in sorted(arrived):
        if not is_clutter(name):
            yield f"{name}: not sent"


def _expected(bundle: Bundle, name: str, file: "RepoFile") -> str:
    """Return the digest that the Hub should name: SHA-256 in LFS, Git's own for small files."""
    if not file.lfs:
        return git_blob_id(bundle.file(name))
    if name == MANIFEST_FILE:
        return bundle.digest
    return bundle.manifest.files[name].sha256


def git_blob_id(file: Path) -> str:
    """Return the id that Git gives to a file's content."""
    data = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def _says_why(repository: str) -> Iterator[None]:
    """Turn errors of HTTP into OutputError with a cure."""
    from huggingface_hub.errors import HfHubHTTPError

    cures = {
        401: "no valid token: set HF_TOKEN to one that may write, or run `hf auth login`",
        403: "the token may not write there: give it write access to that owner's repositories",
        412: "somebody pushed at the same time; push again",
    }
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise OutputError(
            f"{repository}: the Hub answered HTTP {status}; {cures.get(status, str(error))}"
        ) from error
    except OSError as error:  # requests' errors of the connection are such
        raise OutputError(
            f"{repository}: the Hub cannot be reached ({type(error).__name__}). Check the network, "
            "HF_ENDPOINT and HF_HUB_OFFLINE"
        ) from error
