"""Schemathesis sends valid and invalid requests; all answers match /openapi.json."""

from pathlib import Path

import httpx
import pytest

from benchmarks.harness.server import Server
from tests.gateway.clients.kit import programs
from tests.support.processes import run

pytestmark = pytest.mark.slow

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
_EXAMPLES = 60


@pytest.mark.parametrize("model", ["the server's", "another"])
def test_every_answer_matches_the_servers_description(
    model: str, server: Server, tmp_path: Path
) -> None:
    bundle = httpx.get(f"{server.url}/info").json()["bundle"]
    config = tmp_path / "schemathesis.toml"
    # It would hardly guess the name of the only model.
    name = bundle if model == "the server's" else model
    config.write_text(f'[parameters]\nmodel = "{name}"\n', encoding="utf-8")
    done = run(
        *(programs("schemathesis") / "schemathesis", "--config-file", config, "--no-color", "run"),
        *("--checks", ",".join(CHECKS), "--max-examples", str(_EXAMPLES), "--seed", "7"),
        *("--phases", "examples,coverage,fuzzing", "--continue-on-failure"),
        *([] if name == bundle else ["--include-path-regex", "{model}"]),
        f"{server.url}/openapi.json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
