"""Keys of `keys.toml` are bound to tenants and limits, and no answer names another's tenant."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hazgate import BundleError, Gate, Policy
from hazgate.serving.http.app import create_app
from hazgate.serving.key_file import read_key_file
from hazgate.serving.keys import ApiKey, read_api_keys
from hazgate.serving.settings import ServeSettings
from hazgate.serving.source import check_tenants

POLICY = """schema_version = 1
name = "two tenants"
mode = "strict"
[gate]
controversial = 0.5
unsafe = 0.5
[hazards]
default = { action = "block", threshold = 0.0 }
[tenants.loose.hazards]
default = { action = "allow", threshold = 0.0 }
[tenants.careful]
unread = "flag"
"""
BAD = {"messages": [{"role": "user", "content": "good morning"}]}


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _write(folder: Path, text: str) -> Path:
    file = folder / "keys.toml"
    file.write_text(f"schema_version = 1\n{text}", encoding="utf-8")
    return file


@pytest.fixture
def keys(tmp_path: Path) -> tuple[ApiKey, ...]:
    return read_key_file(
        _write(
            tmp_path,
            f"""
[keys.one]
sha256 = "{_digest("one")}"
tenants = ["loose"]
[keys.both]
sha256 = "{_digest("both")}"
tenants = ["loose", "careful"]
max_tokens = 3
[keys.free]
sha256 = "{_digest("free")}"
""",
        )
    )


@contextmanager
def _served(gate: Gate, keys: tuple[ApiKey, ...]) -> Iterator[TestClient]:
    with_policy = gate.with_policy(Policy.parse(POLICY.encode()))
    with TestClient(create_app(with_policy, ServeSettings(), keys)) as client:
        yield client


def _key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


def test_a_key_of_one_tenant_gets_its_rules_at_every_route(
    spotting: Gate, keys: tuple[ApiKey, ...]
) -> None:
    with _served(spotting, keys) as client:
        for name, status in (("one", 200), ("free", 403)):
            answer = client.post("/ext_authz/v1/chat/completions", json=BAD, headers=_key(name))
            assert answer.status_code == status
        checked = client.post("/v1/check", json={"text": "morning"}, headers=_key("one")).json()
        assert checked["verdicts"][0]["decision"]["policy"]["tenant"] == "loose"


def test_a_key_may_name_its_own_tenants_only_and_learns_of_no_other(
    spotting: Gate, keys: tuple[ApiKey, ...]
) -> None:
    def ask(name: str, tenant: str | None) -> tuple[int, str]:
        body = {"text": "good"} if tenant is None else {"text": "good", "tenant": tenant}
        answer = client.post("/v1/check", json=body, headers=_key(name))
        return answer.status_code, answer.text

    with _served(spotting, keys) as client:
        assert (
            ask("one", "loose")[0] == ask("both", "careful")[0] == ask("free", "careful")[0] == 200
        )
        other, unknown = ask("one", "careful"), ask("one", "none such")
        assert other[0] == unknown[0] == 400
        assert other[1] == unknown[1]
        assert "careful" not in other[1]
        assert ask("both", None)[0] == 400
        assert ask("free", "none such")[0] == 400
        with client.websocket_connect("/v1/watch?tenant=careful", headers=_key("one")) as socket:
            assert "no such tenant" in socket.receive_json()["error"]["message"]


def test_a_key_has_a_limit_of_its_own(spotting: Gate, keys: tuple[ApiKey, ...]) -> None:
    body = {"text": "good good good good", "tenant": "loose"}
    with _served(spotting, keys) as client:
        assert client.post("/v1/check", json=body, headers=_key("one")).status_code == 200
        refused = client.post("/v1/check", json=body, headers=_key("both"))
        assert refused.status_code == 400
        assert "3" in refused.text


def test_probes_need_no_key(spotting: Gate, keys: tuple[ApiKey, ...]) -> None:
    name = spotting.model.bundle
    with _served(spotting, keys) as client:
        for path in ("/health/ready", "/v2/health/ready", f"/v2/models/{name}/ready"):
            assert client.get(path).status_code == 200, path
        for path in (f"/v2/models/{name}", f"/v2/models/{name}/x/ready", "/info"):
            assert client.get(path).status_code == 401, path


def test_all_problems_of_a_key_file_are_named_and_no_key(tmp_path: Path) -> None:
    same = _digest("same")
    file = _write(
        tmp_path,
        f"""
[keys.a]
sha256 = "plain-key"
[keys.b]
sha256 = "{same}"
tenants = []
max_tokens = 0
max_concurrent = 0
[keys.c]
sha256 = "{same}"
""",
    )
    with pytest.raises(BundleError) as caught:
        read_key_file(file)
    places = ("a.sha256", "b.tenants", "b.max_tokens", "b.max_concurrent", "c.sha256")
    for place in (f"$.keys.{place}" for place in places):
        assert place in str(caught.value)
    assert "plain-key" not in str(caught.value)
    with pytest.raises(BundleError, match="has no key"):
        read_key_file(_write(tmp_path, "[keys]"))


def test_a_toml_file_is_never_read_as_plain_keys(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="keys in TOML"):
        read_api_keys(_write(tmp_path, "[keys]"))


def test_indented_comments_are_no_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("  # comment\n\tkey\n#x\n\n", encoding="utf-8")
    assert [key.digest.hex() for key in read_key_file(file)] == [_digest("key")]


def test_keys_must_fit_the_policy(spotting: Gate, keys: tuple[ApiKey, ...]) -> None:
    check_tenants(spotting.with_policy(Policy.parse(POLICY.encode())), keys)
    with pytest.raises(BundleError, match=r"keys\.one: no policy has the tenant 'loose'"):
        check_tenants(spotting, keys)
