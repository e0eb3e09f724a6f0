"""Pickled PyTorch weights as safetensors, in a cache keyed by the pickle's digest."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hazgate.cli.progress import step
from hazgate.documents.decode import decode
from hazgate.documents.files import json_bytes, sha256, sync_folder
from hazgate.documents.folders import partial_folder, sync
from hazgate_export.errors import SourceError
from hazgate_export.model.globals import NotACheckpoint, foreign_globals

# Raised when the conversion's result changes.
_FORMAT = "1"
_SCRIPT = Path(__file__).with_name("unpickle.py")
_WEIGHTS, _RECORD = "model.safetensors", "converted.json"
_TIMEOUT_S = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """Safetensors made of a pickle: the file and both digests."""

    file: Path
    sha256: str
    pickle_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionRecord:
    """The record beside converted weights: their digest, and what held the reader.

    `locks` is what kept the process from network and files: "landlock", "seccomp", "audit hook",
    "resource limits".
    """

    sha256: str
    torch: str
    locks: tuple[str, ...]


def cache_folder() -> Path:
    """Return hazgate's folder of caches: HAZGATE_CACHE, or `hazgate` in the user's cache."""
    stated = os.environ.get("HAZGATE_CACHE")
    if stated:
        return Path(stated)
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "hazgate"


def convert_pickle(file: Path, *, subject: str) -> Conversion:
    """Convert a checkpoint of plain tensors to safetensors, or find it converted in the cache.

    The pickle's globals are listed first, and any beyond those of tensors is refused by name.
    torch then reads it with `weights_only=True` in a process that has no network, no secrets in
    its environment, and may write one folder.

    Args:
        file: a `.bin` file of torch.save, of either form.
        subject: its name and place, for messages.

    Raises:
        SourceError: it is damaged, or would import more than tensors; nothing is left.
    """
    digest = sha256(file)
    target = cache_folder() / "weights" / f"{digest}-{_FORMAT}"
    if (found := _cached(target)) is not None:
        return Conversion(file=target / _WEIGHTS, sha256=found, pickle_sha256=digest)
    try:
        foreign = foreign_globals(file)
    except NotACheckpoint as error:
        raise SourceError(
            f"{subject} is damaged, cut off, or no PyTorch checkpoint ({error}); download it again"
        ) from error
    if foreign:
        raise SourceError(
            f"{subject} would import {', '.join(foreign)} when it is read. A checkpoint of plain "
            "tensors needs none of these, and they can run code; take safetensors from its "
            "authors, or another model"
        )
    try:
        with partial_folder(target) as folder:
            made = folder / "made"
            made.mkdir()
            record = _convert(file, made, subject)
            (made / _RECORD).write_bytes(json_bytes(record))
            sync(made)
            with suppress(FileNotFoundError):
                target.rename(folder / "damaged")
            made.rename(target)
            sync_folder(target.parent)
    except OSError as error:
        # Another build may have been faster.
        if (found := _cached(target)) is None:
            raise SourceError(
                f"{subject} cannot be converted in {target.parent}: {error}; free the disk, or "
                "name another folder with HAZGATE_CACHE"
            ) from error
        return Conversion(file=target / _WEIGHTS, sha256=found, pickle_sha256=digest)
    step(f"{subject}: converted to safetensors; it was read behind {', '.join(record.locks)}")
    return Conversion(file=target / _WEIGHTS, sha256=record.sha256, pickle_sha256=digest)


def _cached(target: Path) -> str | None:
    """Return the digest of converted weights, or None if they are not there as recorded."""
    try:
        record = decode(ConversionRecord, json.loads((target / _RECORD).read_bytes()), [])
        whole = record is not None and sha256(target / _WEIGHTS) == record.sha256
    except (OSError, ValueError):
        return None
    return record.sha256 if record is not None and whole else None


def _convert(file: Path, folder: Path, subject: str) -> ConversionRecord:
    """Run the reader in a process of its own; return the record of its result."""
    import torch

    places = [str(Path(place).absolute()) for place in sys.path if place and Path(place).exists()]
    done = subprocess.run(  # noqa: S603 - a script of this package
        [sys.executable, "-B", "-s", str(_SCRIPT), str(file), str(folder)],
        # Nothing of the builder's environment, so no tokens.
        env={
            "PYTHONPATH": os.pathsep.join(places),
            "PATH": os.defpath,
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "OMP_NUM_THREADS": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        cwd=folder,
        timeout=_TIMEOUT_S,
    )
    try:
        report = json.loads(done.stdout)
        locks = tuple(map(str, report["locks"]))
    except (ValueError, LookupError, TypeError) as error:
        tail = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise SourceError(
            f"{subject}: the process that reads it ended with {done.returncode} {tail}"
        ) from error
    if "error" in report or done.returncode != 0:
        raise SourceError(
            f"{subject} cannot be read as plain tensors ({report.get('error', done.returncode)}); "
            "download it again, in case it was cut off"
        )
    return ConversionRecord(
        sha256=sha256(folder / _WEIGHTS), torch=str(torch.__version__), locks=locks
    )
