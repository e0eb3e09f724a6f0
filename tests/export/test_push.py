"""`hazgate-export push` writes a bundle to a Hub, and nothing else, and looks at what arrived."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hazgate import Bundle
from hazgate_export.__main__ import cli
from tests.support.damage import flip_byte, replace_file
from tests.support.hub_uploads import (
    WRITE_TOKEN,
    UploadHub,
    files_of,
    serve_upload_hub,
    use_hub,
)
from tests.support.tiny import unpack_tiny_bundle

REPOSITORY = "team/gate"


@pytest.fixture(scope="module")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed bundle; nothing is built here."""
    return unpack_tiny_bundle(tmp_path_factory.mktemp("committed"))


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "copy"))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    with serve_upload_hub() as served:
        use_hub(monkeypatch, served.endpoint, tmp_path / "home")
        monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
        yield served


def _push(bundle: Path, *options: str, repository: str = REPOSITORY) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, ["push", str(bundle), repository, *options])
    return done.exit_code, done.stdout, done.stderr


def test_what_push_prints_opens_as_the_bundle(hub: UploadHub, tiny_bundle: Path) -> None:
    code, out, err = _push(tiny_bundle)
    assert code == 0, err
    assert out.strip() == f"hub:{REPOSITORY}@{hub.heads[REPOSITORY]}"
    assert Bundle.open(out.strip()).digest == Bundle.open(tiny_bundle).digest
    assert REPOSITORY in hub.private


def test_a_repository_is_public_only_when_asked(hub: UploadHub, tiny_bundle: Path) -> None:
    assert _push(tiny_bundle, "--public")[0] == 0
    assert REPOSITORY not in hub.private


def test_only_the_bundles_own_files_are_sent(hub: UploadHub, bundle_copy: Path) -> None:
    expected = files_of(bundle_copy)
    (bundle_copy / ".cache").mkdir()
    (bundle_copy / ".cache" / "token").write_text("secret")
    (bundle_copy / ".DS_Store").write_text("secret")
    assert _push(bundle_copy)[0] == 0
    there = dict(hub.files(REPOSITORY, "main") or {})
    del there[".gitattributes"]
    assert there == expected


def test_a_newer_bundle_replaces_an_older_one(hub: UploadHub, bundle_copy: Path) -> None:
    files = {**files_of(bundle_copy), "level1-old.onnx": b"a variant that is gone"}
    first = hub.create(REPOSITORY, files)
    replace_file(bundle_copy, "README.md", b"another release")
    code, out, err = _push(bundle_copy)
    assert code == 0, err
    assert Bundle.open(out.strip()).digest == Bundle.open(bundle_copy).digest
    assert dict(hub.files(REPOSITORY, "main") or {}) == files_of(bundle_copy)
    assert hub.files(REPOSITORY, first) == files


def test_the_same_bundle_again_is_the_same_commit(hub: UploadHub, tiny_bundle: Path) -> None:
    assert _push(tiny_bundle)[1] == _push(tiny_bundle)[1] != ""
    assert len(hub.repositories[REPOSITORY]) == 2, "one to create it, one for the bundle"


def test_a_repository_that_is_no_bundle_is_not_overwritten(
    hub: UploadHub, tiny_bundle: Path
) -> None:
    commit = hub.create(REPOSITORY, {"model.safetensors": b"weights"})
    code, _, err = _push(tiny_bundle)
    assert code == 5
    assert "holds files that are no bundle" in err
    assert hub.heads[REPOSITORY] == commit


@pytest.mark.parametrize("name", ["level1-int8.onnx", "README.md", "bundle.json"])
def test_bytes_that_changed_on_the_way_are_found(
    hub: UploadHub, tiny_bundle: Path, name: str
) -> None:
    hub.spoilt.add(name)
    code, out, err = _push(tiny_bundle)
    assert code == 3
    assert f"{name}: other bytes" in err
    assert out == ""


def test_a_damaged_bundle_is_not_pushed(hub: UploadHub, bundle_copy: Path) -> None:
    flip_byte(bundle_copy / "level2-fp32.onnx")
    code, _, err = _push(bundle_copy)
    assert code == 3
    assert "level2-fp32.onnx: SHA-256 differs" in err
    assert hub.requests == []


@pytest.mark.parametrize("token", [None, "hf_of_somebody_else"])
def test_a_token_that_may_not_write_is_named(
    hub: UploadHub, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    code, _, err = _push(tiny_bundle)
    assert code == 5
    assert "set HF_TOKEN to one that may write" in err
    assert not hub.repositories


def test_no_network_is_named(
    hub: UploadHub, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, "http://127.0.0.1:9", tmp_path / "home")
    code, _, err = _push(tiny_bundle)
    assert code == 5
    assert "cannot be reached (ConnectionError)" in err


@pytest.mark.parametrize("repository", ["gate", "team/gate/more", "../gate", "hub:team/gate"])
def test_another_name_is_refused(hub: UploadHub, tiny_bundle: Path, repository: str) -> None:
    code, _, err = _push(tiny_bundle, repository=repository)
    assert code == 5
    assert "expected owner/name" in err
    assert hub.requests == []
