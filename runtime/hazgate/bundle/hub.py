"""Bundles on the Hugging Face Hub: a reference, and its files brought to this machine."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.manifest import MANIFEST_FILE
from hazgate.bundle.manifest_checks import parse_manifest
from hazgate.errors import BundleError

SCHEME = "hub:"
REQUIREMENT = "hazgate[hub]"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Files are small but for a few; more connections bring no more bytes.
_DOWNLOADS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class HubReference:
    """One commit of a repository on the Hub: the same files for ever.

    `str()` gives the form that `Gate.open` and the commands take: hub:owner/name@commit.
    """

    repository: str
    commit: str

    def __str__(self) -> str:
        """Return the reference as text."""
        return f"{SCHEME}{self.repository}@{self.commit}"


def is_hub_reference(path: str | os.PathLike[str]) -> bool:
    """Return True if `path` means the Hub. A directory of that name is opened as ./hub:..."""
    return os.fspath(path).startswith(SCHEME)


def parse_reference(text: str) -> HubReference:
    """Parse hub:owner/name@commit.

    Raises:
        BundleError: it is no such reference, or names a branch or tag instead of a commit.
    """
    repository, _, revision = text.removeprefix(SCHEME).partition("@")
    if not text.startswith(SCHEME) or not REPOSITORY.fullmatch(repository):
        raise BundleError(f"{text!r}: expected {SCHEME}owner/name@commit")
    if not _COMMIT.fullmatch(revision):
        given = f"{revision!r} is not one" if revision else "it names none"
        raise BundleError(
            f"{text!r}: a reference needs a full commit of 40 hexadecimal digits, {given}. A "
            "branch or tag can change under a running gateway. This prints the commit: "
            f"`git ls-remote https://huggingface.co/{repository} {revision or 'main'}`"
        )
    return HubReference(repository=repository, commit=revision)


def fetch_bundle(reference: HubReference) -> Path:
    """Bring the files of a bundle's manifest to the Hub's cache; return their directory.

    Files that the cache has already need no network. HF_HOME, HF_ENDPOINT, HF_TOKEN and
    HF_HUB_OFFLINE mean what they mean to huggingface_hub. Nothing is verified here.

    Raises:
        BundleError: huggingface_hub is not installed, or the files are not to be had.
        ManifestError: the manifest is wrong, or of a newer schema.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise BundleError(
            f"{reference} needs huggingface_hub: pip install '{REQUIREMENT}'"
        ) from error

    def fetch(name: str) -> Path:
        with _says_why(reference, name):
            return Path(
                hf_hub_download(reference.repository, name, revision=reference.commit)
            ).absolute()

    manifest_file = fetch(MANIFEST_FILE)
    manifest = parse_manifest(manifest_file.read_bytes())
    # Imported here because `import hazgate` does not need it.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        # list(): the first error is raised here.
        list(pool.map(fetch, manifest.files))
    return manifest_file.parent


@contextmanager
def _says_why(reference: HubReference, name: str) -> Iterator[None]:
    """Turn huggingface_hub's errors into BundleError with a cure."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository = reference.repository
    try:
        yield
    # The order matters: some of these derive from others.
    except GatedRepoError as error:
        why = "is gated: accept its terms on its page and set HF_TOKEN to a token of that account"
        raise BundleError(f"{reference}: {repository} {why}") from error
    except RepositoryNotFoundError as error:
        why = "does not exist, or is private and HF_TOKEN is no token that may read it"
        raise BundleError(f"{reference}: {repository} {why}") from error
    except RevisionNotFoundError as error:
        why = "has no such commit; copy it from the repository's history"
        raise BundleError(f"{reference}: {repository} {why}") from error
    except LocalEntryNotFoundError as error:
        cause = type(error.__cause__ or error).__name__
        raise BundleError(
            f"{reference}: {name} is not in the cache and the Hub cannot be reached ({cause}). "
            "Check the network, HF_ENDPOINT and HF_HUB_OFFLINE; or copy the bundle here and open "
            "its directory"
        ) from error
    except EntryNotFoundError as error:
        is_manifest = name == MANIFEST_FILE
        why = "it is not a bundle" if is_manifest else "push the whole bundle again"
        raise BundleError(f"{reference}: {repository} has no {name}; {why}") from error
    except Exception as error:  # of HTTP, of the disk, or hf_xet's, which share no base class
        status = getattr(getattr(error, "response", None), "status_code", None)
        found = f"HTTP {status}" if status else f"{type(error).__name__}: {error}"
        raise BundleError(
            f"{reference}: {name} cannot be downloaded ({found}). Check the network, HF_ENDPOINT, "
            "HF_TOKEN and the space in HF_HOME"
        ) from error
