"""A stand-in for the Hugging Face Hub on loopback: what a download asks, answered as there.

Large files (weights) are redirected to another path, as the Hub redirects them to its storage, and
take ranges. A renamed repository answers with a relative redirect, a gated one refuses its files to
whoever has no token, a private one looks as if it was not there.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support.answering import answering

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>[^/?]+)")
_COMMITS = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/commits/(?P<revision>[^/?]+)")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[0-9a-f]{40})/(?P<file>.+)")
_STORED = re.compile(r"/storage/(?P<repo>[^/]+/[^/]+)/(?P<file>.+)")
_LARGE = (".bin", ".safetensors")
TOKEN = "hf_standin"


# The commits that the production recipe names.
_COMMITS_SEEN = {
    "jhu-clsp/mmBERT-base": "c1f0235877cb42fce3ee84258a5206183955b671",
    "llm-semantic-router/mlcommons-safety-classifier-level1-binary": "739da53".ljust(40, "0"),
}


def commit_of(repo: str) -> str:
    """Return the only commit of a repository."""
    return _COMMITS_SEEN.get(repo) or hashlib.sha1(repo.encode()).hexdigest()


@dataclass
class StandInHub:
    """A running stand-in: its settings, which tests may change, and the requests until now.

    Attributes:
        endpoint: value for HF_ENDPOINT.
        repositories: directories by repository.
        renamed: new names by old names.
        gated: repositories whose files need TOKEN.
        private: repositories that are only there for TOKEN.
        cut_after: bytes after which the connection breaks, by file name; each entry counts once.
        requests: "METHOD path range" of each request, in order.
    """

    endpoint: str
    repositories: Mapping[str, Path]
    renamed: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def files_asked_for(self) -> set[str]:
        """Return "repository/file" of every file that was asked for."""
        paths = (request.split(" ")[1] for request in self.requests)
        return {
            f"{found['repo']}/{found['file']}" for path in paths if (found := _FILE.match(path))
        }


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None


@contextmanager
def serve_hub(repositories: Mapping[str, Path]) -> Iterator[StandInHub]:
    """Serve directories as repositories."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _answer(self, *, with_body: bool) -> None:
            wanted = self.headers.get("Range", "")
            hub.requests.append(f"{self.command} {self.path} {wanted}")
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            answer = _answer_to(hub, self.path, known=known)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            whole = len(answer.body)
            body = answer.body[start:]
            status = 206 if wanted and answer.status == 200 else answer.status
            self.send_response(status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if status == 206:
                self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not with_body:
                return
            if answer.cut_after is not None and self.command == "GET":
                self.wfile.write(body[: answer.cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(body)

    with answering(Handler) as endpoint:
        hub = StandInHub(endpoint=endpoint, repositories=repositories)
        yield hub


def _answer_to(hub: StandInHub, path: str, *, known: bool) -> _Answer:
    if (match := _STORED.match(path)) is not None:
        return _stored(hub, match["repo"], match["file"])
    match = _INFO.match(path) or _COMMITS.match(path) or _FILE.match(path)
    if match is None:
        return _Answer(404)
    repo = match["repo"]
    if repo in hub.renamed:
        return _Answer(307, {"Location": path.replace(repo, hub.renamed[repo], 1)})
    if repo not in hub.repositories or (repo in hub.private and not known):
        # The Hub does not say whether such a repository exists.
        return _Answer(401, {"X-Error-Code": "RepoNotFound"})
    if match.re is _COMMITS:
        commit = {
            "id": commit_of(repo),
            "title": "upload",
            "message": "",
            "date": "2026-01-01T00:00:00.000Z",
            "authors": [],
        }
        return _json([commit])
    if match["revision"] not in ("main", commit_of(repo)):
        return _Answer(404, {"X-Error-Code": "RevisionNotFound"})
    folder = hub.repositories[repo]
    if match.re is _INFO:
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        return _json(
            {
                "id": repo,
                "sha": commit_of(repo),
                "gated": "auto" if repo in hub.gated else False,
                "siblings": [{"rfilename": name} for name in files],
            }
        )
    if repo in hub.gated and not known:
        return _Answer(401, {"X-Error-Code": "GatedRepo"})
    return _file(hub, folder / match["file"], repo, match["revision"])


def _file(hub: StandInHub, file: Path, repo: str, commit: str) -> _Answer:
    if not file.is_file():
        return _Answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
    body = file.read_bytes()
    if file.suffix not in _LARGE:
        blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
        return _Answer(200, {"ETag": f'"{blob}"', "X-Repo-Commit": commit}, body)
    headers = {
        "X-Repo-Commit": commit,
        "X-Linked-Etag": f'"{hashlib.sha256(body).hexdigest()}"',
        "X-Linked-Size": str(len(body)),
        "Location": f"{hub.endpoint}/storage/{repo}/{file.name}",
    }
    return _Answer(302, headers)


def _stored(hub: StandInHub, repo: str, name: str) -> _Answer:
    cuts = hub.cut_after.get(name, [])
    body = (hub.repositories[repo] / name).read_bytes()
    return _Answer(200, {"Accept-Ranges": "bytes"}, body, cuts.pop(0) if cuts else None)


def _json(data: object) -> _Answer:
    return _Answer(200, {"Content-Type": "application/json"}, json.dumps(data).encode())
