"""Repositories of the Hugging Face Hub: their commits, their files, and what to do without one."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, get_token, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from requests.exceptions import ChunkedEncodingError, RequestException, Timeout
from requests.exceptions import ConnectionError as NoConnection

from hazgate.cli.progress import step
from hazgate_export.errors import SourceError
from hazgate_export.recipe import HubSource

_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_FULL_COMMIT = re.compile(r"[0-9a-f]{40}")
_PUBLIC_ENDPOINT = "https://huggingface.co"
# Each attempt continues where the connection broke.
_ATTEMPTS = 5
_PAUSE_S = 1.0
_BY_HAND = "download it elsewhere and build with --base, --adapter or --checkpoint"


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """One commit of a repository: the names of its files, and a way to bring one here."""

    source: HubSource
    id: str
    commit: str
    names: frozenset[str]

    def bring(self, name: str) -> Path:
        """Download a file, or find it in the Hub's cache; continue a broken download.

        Raises:
            SourceError: the Hub does not give it; says what to do.
        """
        for _ in range(_ATTEMPTS - 1):
            if (path := self._attempt(name)) is not None:
                return path
            step(f"{self.id}: the connection broke in {name}, continue where it broke")
            time.sleep(_PAUSE_S)
        return self._download(name)

    def _attempt(self, name: str) -> Path | None:
        """Download a file; return None if the connection broke."""
        try:
            return self._download(name)
        except SourceError as error:
            broken = isinstance(error.__cause__, (ChunkedEncodingError, NoConnection, Timeout))
            if not broken or isinstance(error.__cause__, OfflineModeIsEnabled):
                raise
            return None

    def _download(self, name: str) -> Path:
        try:
            return Path(hf_hub_download(self.source.hub, name, revision=self.commit))
        except (OSError, HfHubHTTPError) as error:
            raise _unavailable(error, self.source, self.id) from error


def open_repository(source: HubSource, id: str) -> Repository:  # noqa: A002
    """Look up the commit of a revision, and the files that it has.

    Without a network, a pinned commit that the Hub's cache holds is taken from there.

    Raises:
        SourceError: the Hub does not have it or does not give it; says what to do.
    """
    if constants.ENDPOINT != _PUBLIC_ENDPOINT:
        step(f"{id}: from the mirror {constants.ENDPOINT} (HF_ENDPOINT)")
    try:
        commit = _commit(source)
        info = HfApi().model_info(source.hub, revision=commit)
    except (NoConnection, Timeout) as error:
        return _cached(source, id, error)
    except (RequestException, OSError) as error:
        raise _unavailable(error, source, id) from error
    if info.id != source.hub:
        step(f"{id}: {source.hub} is now called {info.id}; write that name into the recipe")
    if info.sha is None or (_FULL_COMMIT.fullmatch(commit) and info.sha != commit):
        raise SourceError(
            f"{id}: the Hub answers for {source.hub} at {commit} with commit {info.sha}; pin a "
            "commit that it has"
        )
    names = frozenset(sibling.rfilename for sibling in info.siblings or ())
    return Repository(source=source, id=id, commit=info.sha, names=names)


def _commit(source: HubSource) -> str:
    """Return the full commit of a shortened one; anything else as it is."""
    revision = source.revision
    if _FULL_COMMIT.fullmatch(revision) or not _COMMIT.fullmatch(revision):
        return revision
    commits = [commit.commit_id for commit in HfApi().list_repo_commits(source.hub)]
    matches = [commit for commit in commits if commit.startswith(revision)]
    if len(matches) != 1:
        raise SourceError(
            f"{source.hub}: {len(matches)} commits start with {revision}, expected one; give more "
            "digits of the commit"
        )
    return matches[0]


def _cached(source: HubSource, id: str, error: Exception) -> Repository:  # noqa: A002
    """Return a pinned commit as the Hub's cache holds it."""
    if not _FULL_COMMIT.fullmatch(source.revision):
        raise _unavailable(error, source, id) from error
    try:
        folder = Path(
            snapshot_download(source.hub, revision=source.revision, local_files_only=True)
        )
    except (LocalEntryNotFoundError, OSError):
        raise _unavailable(error, source, id) from error
    names = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    step(f"{id}: the Hub does not answer; commit {source.revision} is taken from its cache")
    return Repository(source=source, id=id, commit=source.revision, names=names)


def _unavailable(error: Exception, source: HubSource, id: str) -> SourceError:  # noqa: A002
    """Say why the Hub did not give something, and what to do."""
    where = f"{id}: hub repository {source.hub} at {source.revision}"
    token = (
        "The token in use may not see it: check HF_TOKEN and what the token allows"
        if get_token()
        else "No token is set: create one on the Hub, then set HF_TOKEN or run `hf auth login`"
    )
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError):
        return SourceError(
            f"{where} is gated: its owners give access to people who accept their terms. Accept "
            f"them on the repository's page with the account of your token. {token}; or {_BY_HAND}."
        )
    if isinstance(error, RevisionNotFoundError):
        return SourceError(
            f"{where} is not there: the repository has no such revision. Correct the revision in "
            "the recipe; a full commit is safest."
        )
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        return SourceError(
            f"{where} is not available from the Hub: it does not exist under this name, or it is "
            f"private (HTTP {status}). Check the name in the recipe. {token}; or {_BY_HAND}."
        )
    if isinstance(error, OfflineModeIsEnabled):
        return SourceError(
            f"{where} is not available from the Hub: HF_HUB_OFFLINE forbids the network, and the "
            f"cache does not hold it. Unset HF_HUB_OFFLINE; or {_BY_HAND}."
        )
    kind = f"HTTP {status}" if status is not None else type(error).__name__
    return SourceError(
        f"{where} is not available from the Hub ({kind} from {constants.ENDPOINT}). Check the "
        "network, HTTPS_PROXY, HF_ENDPOINT (a mirror) and HF_TOKEN, and run the same command "
        f"again, which continues the download; or {_BY_HAND}, each with =DIRECTORY where the "
        "help says so."
    )
