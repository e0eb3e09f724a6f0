"""A stand-in for the Hugging Face Hub on loopback that takes uploads, as its API is in 2026.

Repositories have commits; files named *.bin, *.onnx and tokenizer.json go through LFS.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from tests.support.answering import answering

WRITE_TOKEN = "hf_write"
_LFS = re.compile(r".*(\.bin|\.onnx|/?tokenizer\.json)")
_REPO = r"(?P<repo>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/?]+)"
_EMPTY_CARD = "empty or missing yaml metadata in repo card"

Answer = tuple[int, dict[str, str], bytes]
Files = Mapping[str, bytes]


@dataclass(kw_only=True)
class UploadHub:
    """The state of the stand-in: repositories, and faults to inject."""

    endpoint: str = ""
    repositories: dict[str, dict[str, Files]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    gated: set[str] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)
    # Names of files whose bytes the Hub stores wrongly.
    spoilt: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def create(self, repo: str, files: Files) -> str:
        """Create a repository with one commit; return the commit."""
        self.repositories[repo] = {}
        return self.commit(repo, files)

    def commit(self, repo: str, files: Files) -> str:
        """Add a commit with exactly these files; return it."""
        digest = hashlib.sha1(self.heads.get(repo, "").encode())
        for name, data in sorted(files.items()):
            digest.update(name.encode() + hashlib.sha1(data).digest())
        commit = digest.hexdigest()
        self.repositories[repo][commit] = dict(files)
        self.heads[repo] = commit
        return commit

    def files(self, repo: str, revision: str) -> Files | None:
        """Return the files at a branch or commit."""
        commit = self.heads.get(repo, "") if revision == "main" else revision
        return self.repositories.get(repo, {}).get(commit)


def files_of(folder: Path) -> dict[str, bytes]:
    """Read the files of a directory, as `UploadHub.create` takes them."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def use_hub(monkeypatch: pytest.MonkeyPatch, endpoint: str, home: Path) -> None:
    """Let huggingface_hub of this process talk to `endpoint` and keep its cache in `home`."""
    # It has read the environment already, when it was imported.
    from huggingface_hub import constants, file_download
    from huggingface_hub.utils import _http

    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    # It waits half a minute for a Hub that cannot be reached.
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    # Sessions remember that they were offline.
    _http.reset_sessions()


@contextmanager
def serve_upload_hub() -> Iterator[UploadHub]:
    """Serve a Hub without repositories; `endpoint` is for HF_ENDPOINT."""
    hub = UploadHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer("HEAD")

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _answer(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlparse(self.path).path)
            hub.requests.append(f"{method} {path}")
            can_write = self.headers.get("Authorization") == f"Bearer {WRITE_TOKEN}"
            status, headers, answer = _find(hub, method, path, body, can_write=can_write)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if method != "HEAD":
                self.wfile.write(answer)

    with answering(Handler) as hub.endpoint:
        yield hub


def _find(hub: UploadHub, method: str, path: str, body: bytes, *, can_write: bool) -> Answer:
    if method in ("POST", "PUT"):
        return _write(hub, method, path, body, can_write=can_write)
    if match := re.fullmatch(rf"/{_REPO}/resolve/{_REVISION}/(?P<file>.+)", path):
        return _resolve(hub, match["repo"], match["revision"], match["file"], can_write)
    if match := re.fullmatch(rf"/api/models/{_REPO}(/revision/{_REVISION})?", path):
        files = hub.files(match["repo"], match["revision"] or "main")
        if files is None:
            return _missing(hub, match["repo"])
        commit = hub.heads[match["repo"]]
        siblings = [{"rfilename": name} for name in files]
        return _json({"id": match["repo"], "sha": commit, "siblings": siblings})
    if match := re.fullmatch(rf"/api/models/{_REPO}/tree/{_REVISION}(/.*)?", path):
        files = hub.files(match["repo"], match["revision"])
        if files is None:
            return _missing(hub, match["repo"])
        return _json([_entry(name, data) for name, data in files.items()])
    return 404, {}, b""


def _resolve(hub: UploadHub, repo: str, revision: str, file: str, can_write: bool) -> Answer:
    if repo in hub.private and not can_write:
        return 401, {"X-Error-Code": "RepoNotFound"}, b""
    if repo in hub.gated and not can_write:
        return 403, {"X-Error-Code": "GatedRepo"}, b""
    files = hub.files(repo, revision)
    if files is None:
        return _missing(hub, repo)
    if file not in files:
        return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision}, b""
    entry = _entry(file, files[file])
    etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
    return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": revision}, files[file]


def _missing(hub: UploadHub, repo: str) -> Answer:
    known = repo in hub.repositories
    return 404, {"X-Error-Code": "RevisionNotFound" if known else "RepoNotFound"}, b""


def _write(hub: UploadHub, method: str, path: str, body: bytes, *, can_write: bool) -> Answer:
    if match := re.fullmatch(r"/objects/(?P<oid>[0-9a-f]{64})", path):
        if hashlib.sha256(body).hexdigest() != match["oid"]:
            return 400, {}, b"another digest"
        hub.objects[match["oid"]] = body
        return 200, {"ETag": '"stored"'}, b""
    if path == "/api/validate-yaml":
        return _json({"errors": [], "warnings": [{"message": _EMPTY_CARD}]})
    if not can_write:
        return 401, {"X-Error-Message": "Invalid username or password."}, b"{}"
    if path == "/api/repos/create":
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{hub.endpoint}/{repo}"}
        if repo in hub.repositories:
            return 409, {"Content-Type": "application/json"}, json.dumps(url).encode()
        if asked.get("private"):
            hub.private.add(repo)
        hub.create(repo, {".gitattributes": b"*.bin filter=lfs\n"})
        return _json(url)
    if match := re.fullmatch(rf"/api/models/{_REPO}/preupload/{_REVISION}", path):
        names = [file["path"] for file in json.loads(body)["files"]]
        modes = {name: "lfs" if _LFS.fullmatch(name) else "regular" for name in names}
        there = hub.files(match["repo"], match["revision"]) or {}
        files = [
            {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": _oid(there, name)}
            for name, mode in modes.items()
        ]
        return _json({"files": files})
    if match := re.fullmatch(rf"/{_REPO}\.git/info/lfs/objects/batch", path):
        objects = json.loads(body)["objects"]
        return _json(
            {"transfer": "basic", "objects": [_upload_action(hub, asked) for asked in objects]}
        )
    if match := re.fullmatch(rf"/api/models/{_REPO}/commit/{_REVISION}", path):
        return _commit(hub, match["repo"], body)
    return 404, {}, method.encode()


def _upload_action(hub: UploadHub, asked: Mapping[str, Any]) -> dict[str, Any]:
    upload = {"href": f"{hub.endpoint}/objects/{asked['oid']}", "header": {}}
    actions = {} if asked["oid"] in hub.objects else {"actions": {"upload": upload}}
    return {"oid": asked["oid"], "size": asked["size"], **actions}


def _commit(hub: UploadHub, repo: str, body: bytes) -> Answer:
    files = dict(hub.files(repo, "main") or {})
    for line in body.splitlines():
        operation = json.loads(line)
        value = operation["value"]
        match operation["key"]:
            case "header":
                parent = value.get("parentCommit")
                if parent is not None and parent != hub.heads[repo]:
                    return 412, {}, b"the branch has moved"
            case "file":
                files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                files[value["path"]] = hub.objects[value["oid"]]
            case "deletedFile":
                del files[value["path"]]
            case _:
                return 400, {}, b"unknown operation"
    for name in hub.spoilt & set(files):
        files[name] = files[name][:-1] + b"!"
    commit = hub.commit(repo, files)
    return _json({"commitOid": commit, "commitUrl": f"{hub.endpoint}/{repo}/commit/{commit}"})


def _entry(name: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": blob}
    if _LFS.fullmatch(name):
        entry["lfs"] = {
            "oid": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "pointerSize": 134,
        }
    return entry


def _oid(files: Files, name: str) -> str | None:
    """Return the digest by which a client knows that a file need not be sent."""
    if name not in files:
        return None
    entry = _entry(name, files[name])
    return str(entry["lfs"]["oid"] if "lfs" in entry else entry["oid"])


def _json(data: object) -> Answer:
    return 200, {"Content-Type": "application/json"}, json.dumps(data).encode()
