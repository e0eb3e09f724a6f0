"""nginx with njs, set up as in SERVING.md, asks hazgate before it passes a body on.

`auth_request` alone is no guard: it asks without the body, which holds the prompts, so nothing is
ever refused. The model's answers are not read in either case.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.harness.ports import free_port
from benchmarks.harness.server import Server, serving
from tests.gateway.clients.kit import (
    GOOD_ANSWER,
    LOOPBACK,
    Model,
    chat,
    content,
    running,
    set_up,
)

_NGINX = shutil.which("nginx")
_NJS = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        _NGINX is None or not _NJS.exists(),
        reason="needs Debian's packages nginx and libnginx-mod-http-js",
    ),
]

NJS = "nginx, njs"
_AUTH_REQUEST = """
location / {
    auth_request /_hazgate;
    proxy_pass http://model:8000;
}
location = /_hazgate {
    internal;
    proxy_pass http://hazgate:8080/ext_authz/;
    proxy_pass_request_body off;
    proxy_set_header Content-Length "";
}
"""


@contextmanager
def _nginx(locations: str, hazgate: str, model: Model, folder: Path) -> Iterator[str]:
    port = free_port()
    shown = locations.replace("http://hazgate:8080", hazgate).replace(
        "http://model:8000", model.url
    )
    (folder / "hazgate.js").write_text(set_up(NJS, "js"), encoding="utf-8")
    file = folder / "nginx.conf"
    file.write_text(
        f"load_module {_NJS};\n"
        # One process, which ends when it is told to.
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\n"
        "events {}\n"
        f"http {{ access_log off; js_import hazgate.js;\n"
        f"server {{ listen {LOOPBACK}:{port};\n{shown}\n}} }}\n",
        encoding="utf-8",
    )
    assert _NGINX is not None
    with running(_NGINX, "-c", file, port=port, log=folder / "log") as url:
        yield url


@pytest.fixture(scope="module")
def gateway(server: Server, llm: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("nginx")
    with _nginx(set_up(NJS, "nginx"), server.url, llm, folder) as url:
        yield url


def test_an_unflagged_chat_passes(gateway: str, model: Model) -> None:
    assert content(chat(gateway, "good")) == GOOD_ANSWER
    assert model.asked == ["good"]


def test_a_flagged_prompt_is_refused_with_its_hazard_and_never_reaches_the_model(
    gateway: str, model: Model
) -> None:
    answer = chat(gateway, "good morning")
    assert answer.status_code == 403, answer.text
    assert "S3_sex_crimes" in answer.json()["error"]["message"]
    assert model.asked == []


def test_a_prompt_that_nginx_keeps_in_a_file_is_read_to_its_end(gateway: str, model: Model) -> None:
    assert chat(gateway, "x" * 100_000 + " morning").status_code == 403
    assert model.asked == []


def test_a_body_over_the_limit_is_refused_by_nginx_itself(gateway: str, model: Model) -> None:
    assert chat(gateway, "good " * 250_000).status_code == 413
    assert model.asked == []


def test_nothing_passes_without_hazgate(bundle: Path, model: Model, tmp_path: Path) -> None:
    with (
        serving(bundle) as server,
        _nginx(set_up(NJS, "nginx"), server.url, model, tmp_path) as gateway,
    ):
        assert content(chat(gateway, "good")) == GOOD_ANSWER
        server.stop()
        assert chat(gateway, "good").status_code == 502
    assert model.asked == ["good"]


def test_auth_request_alone_refuses_nothing(server: Server, model: Model, tmp_path: Path) -> None:
    with _nginx(_AUTH_REQUEST, server.url, model, tmp_path) as gateway:
        assert content(chat(gateway, "good morning")) == GOOD_ANSWER
    # What it did not ask about would have been flagged.
    assert httpx.post(f"{server.url}/v1/check", json={"text": "good morning"}).json()["flagged"]
