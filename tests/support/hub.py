"""A stand-in for the Hugging Face Hub on loopback: the few calls of a download."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/(?P<revision>[^/?]+)")
_COMMITS = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/commits/(?P<revision>[^/?]+)")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[0-9a-f]{40})/(?P<file>.+)")


def commit_of(repo: str) -> str:
    """Return the only commit of a repository."""
    return hashlib.sha1(repo.encode()).hexdigest()


@contextmanager
def serve_hub(repositories: Mapping[str, Path]) -> Iterator[str]:
    """Serve directories as repositories; yield the endpoint for HF_ENDPOINT."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

        def _answer(self, *, with_body: bool) -> None:
            status, headers, body = self._find()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def _find(self) -> tuple[int, dict[str, str], bytes]:
            if (match := _INFO.match(self.path)) and match["repo"] in repositories:
                if match["revision"] not in ("main", commit_of(match["repo"])):
                    return 404, {"X-Error-Code": "RevisionNotFound"}, b""
                names = [p.name for p in sorted(repositories[match["repo"]].iterdir())]
                return self._json(
                    {
                        "id": match["repo"],
                        "sha": commit_of(match["repo"]),
                        "siblings": [{"rfilename": name} for name in names],
                    }
                )
            if (match := _COMMITS.match(self.path)) and match["repo"] in repositories:
                commit = {
                    "id": commit_of(match["repo"]),
                    "title": "upload",
                    "message": "",
                    "date": "2026-01-01T00:00:00.000Z",
                    "authors": [],
                }
                return self._json([commit])
            if (match := _FILE.match(self.path)) and match["repo"] in repositories:
                file = repositories[match["repo"]] / match["file"]
                if file.is_file():
                    body = file.read_bytes()
                    headers = {
                        "ETag": f'"{hashlib.sha256(body).hexdigest()}"',
                        "X-Repo-Commit": match["revision"],
                    }
                    return 200, headers, body
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            return 404, {"X-Error-Code": "RepoNotFound"}, b""

        @staticmethod
        def _json(data: object) -> tuple[int, dict[str, str], bytes]:
            return 200, {"Content-Type": "application/json"}, json.dumps(data).encode()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
