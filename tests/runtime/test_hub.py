"""A bundle on the Hub opens by commit, through the real client and its cache."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hazgate import Bundle, BundleError, Gate, IntegrityError
from hazgate.bundle.hub import HubReference, parse_reference
from hazgate.engine.options import EngineOptions
from tests.support.damage import edit_manifest
from tests.support.hub_uploads import (
    WRITE_TOKEN,
    UploadHub,
    files_of,
    serve_upload_hub,
    use_hub,
)
from tests.support.processes import run

REPOSITORY = "team/gate"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXT = "How do I kill a Python process?"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def hub(tiny_bundle: Path) -> Iterator[UploadHub]:
    with serve_upload_hub() as served:
        served.create(REPOSITORY, {**files_of(tiny_bundle), ".gitattributes": b"*.bin\n"})
        yield served


@pytest.fixture
def home(hub: UploadHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_hub(monkeypatch, hub.endpoint, tmp_path / "home")
    return tmp_path / "home"


def _reference(hub: UploadHub, repository: str = REPOSITORY) -> str:
    return f"hub:{repository}@{hub.heads[repository]}"


@pytest.mark.usefixtures("home")
def test_a_gate_opens_a_commit_and_answers_as_the_bundle_does(
    hub: UploadHub, tiny_bundle: Path
) -> None:
    options = EngineOptions(threads=1)
    expected = Gate.open(tiny_bundle, engine=options).check(TEXT, all_levels=True)
    gate = Gate.open(_reference(hub), engine=options)
    assert gate.check(TEXT, all_levels=True) == expected
    assert gate.bundle.file("tokenizer.json").is_symlink(), "the cache has no links on this system"


def test_a_second_gate_needs_no_network(
    hub: UploadHub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Bundle.open(_reference(hub))
    use_hub(monkeypatch, NOWHERE, home)
    assert Bundle.open(_reference(hub)) == first


def test_only_the_manifests_files_are_downloaded(
    hub: UploadHub, home: Path, tiny_bundle: Path
) -> None:
    hub.create("team/more", {**files_of(tiny_bundle), "training_args.bin": b"pickle"})
    opened = Bundle.open(_reference(hub, "team/more"))
    assert not list(home.rglob("training_args.bin"))
    assert opened.digest == Bundle.open(tiny_bundle).digest


@pytest.mark.usefixtures("home")
def test_other_bytes_on_the_hub_are_found(hub: UploadHub, tiny_bundle: Path) -> None:
    files = files_of(tiny_bundle)
    changed = {**files, "level1-int8.onnx": files["level1-int8.onnx"][:-1] + b"!"}
    hub.create("team/changed", changed)
    with pytest.raises(IntegrityError, match=r"level1-int8\.onnx: SHA-256 differs") as caught:
        Bundle.open(_reference(hub, "team/changed"))
    assert "download it anew" in str(caught.value)


def test_the_clients_own_directories_open(hub: UploadHub, home: Path, tiny_bundle: Path) -> None:
    from huggingface_hub import snapshot_download

    expected = Bundle.open(tiny_bundle)
    cached = Path(snapshot_download(REPOSITORY))
    assert Bundle.open(cached).digest == expected.digest
    local = home.parent / "local"
    snapshot_download(REPOSITORY, local_dir=local)
    assert (local / ".cache").is_dir()
    assert (local / ".gitattributes").is_file()
    assert Bundle.open(local).digest == expected.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hub:team/gate", "needs a full commit of 40 hexadecimal digits, it names none"),
        ("hub:team/gate@main", "git ls-remote https://huggingface.co/team/gate main"),
        ("hub:team/gate@0123456", "'0123456' is not one"),
        (f"hub:gate@{COMMIT}", "expected hub:owner/name@commit"),
        (f"hub:team/gate/more@{COMMIT}", "expected hub:owner/name@commit"),
        (f"hub:../gate@{COMMIT}", "expected hub:owner/name@commit"),
        ("hub:", "expected hub:owner/name@commit"),
    ],
)
def test_a_reference_without_a_commit_is_refused_with_the_cure(text: str, message: str) -> None:
    with pytest.raises(BundleError, match=re.escape(message)):
        Bundle.open(text)


def test_a_reference_is_read_as_it_is_written() -> None:
    reference = HubReference(repository="team/gate", commit=COMMIT)
    assert parse_reference(str(reference)) == reference
    assert str(reference) == f"hub:team/gate@{COMMIT}"


def test_a_directory_with_such_a_name_is_opened_by_its_path(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "hub:bundle")
    monkeypatch.chdir(tmp_path)
    assert Bundle.open("./hub:bundle").digest == Bundle.open(tiny_bundle).digest


@pytest.mark.usefixtures("home")
def test_what_the_hub_does_not_give_is_named_with_its_cure(
    hub: UploadHub, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(tiny_bundle)
    hub.create("team/private", files)
    hub.private.add("team/private")
    hub.create("team/gated", files)
    hub.gated.add("team/gated")
    hub.create("team/model", {"config.json": b"{}"})
    hub.create("team/half", {name: files[name] for name in files if name != "tokenizer.json"})
    cases = {
        f"hub:team/none@{COMMIT}": "does not exist, or is private",
        f"hub:{REPOSITORY}@{COMMIT}": "has no such commit",
        _reference(hub, "team/private"): "HF_TOKEN is no token that may read it",
        _reference(hub, "team/gated"): "accept its terms",
        _reference(hub, "team/model"): r"has no bundle\.json; it is not a bundle",
        _reference(hub, "team/half"): r"has no tokenizer\.json; push the whole bundle again",
    }
    for reference, message in cases.items():
        with pytest.raises(BundleError, match=message):
            Bundle.open(reference)
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    opened = Bundle.open(_reference(hub, "team/private"))
    assert opened.digest == Bundle.open(tiny_bundle).digest


def test_no_network_is_named_with_its_cure(
    hub: UploadHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_hub(monkeypatch, NOWHERE, tmp_path / "empty")
    with pytest.raises(BundleError, match=r"cannot be reached .*HF_ENDPOINT and HF_HUB_OFFLINE"):
        Bundle.open(_reference(hub))


@pytest.mark.usefixtures("home")
def test_a_manifest_of_the_hub_is_as_strict_as_any(hub: UploadHub, bundle_copy: Path) -> None:
    edit_manifest(
        bundle_copy, lambda data: data["files"].update({"../out": data["files"]["README.md"]})
    )
    hub.create("team/escapes", files_of(bundle_copy))
    with pytest.raises(BundleError, match=r"\.\./out"):
        Bundle.open(_reference(hub, "team/escapes"))


def test_a_missing_extra_is_named(hub: UploadHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BundleError, match=r"pip install 'hazgate\[hub\]'"):
        Bundle.open(_reference(hub))


def test_commands_take_a_reference(hub: UploadHub, tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment = {
        **kept,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path),
        "HF_HUB_OFFLINE": "0",
    }
    command = (sys.executable, "-m", "hazgate")
    done = run(*command, "classify", _reference(hub), TEXT, env=environment)
    assert done.returncode == 0, done.stderr
    assert '"flagged"' in done.stdout
    refused = run(*command, "info", f"hub:{REPOSITORY}@main", env=environment)
    assert refused.returncode == 3
    assert "git ls-remote" in refused.stderr
