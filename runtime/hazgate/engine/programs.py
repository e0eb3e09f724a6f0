"""A folder of compiled programs that never mixes programs of different models.

MIGraphX names a program after its graph's file name and shapes only, not after the weights, the
precision or anything else that it depends on, and it writes the file in place. So each combination
has its own folder, one process at a time works in it, and it is valid only once its list of files
is written, which comes last.

Source: ONNX Runtime's MIGraphX provider, 1.23 to 1.27, for the naming and the writing.
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hazgate.documents.decode import encode
from hazgate.documents.files import json_bytes, sha256, write_atomically
from hazgate.engine.buckets import Bucket

_LIST = "programs.json"
_LOCK = ".lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramKey:
    """Everything that a compiled program depends on.

    Attributes:
        model_sha256: digest of the graph and its weights.
        gfx: the GPU's architecture.
        versions: versions of ONNX Runtime, the provider, its compiler and ROCm, by name.
        precision: the variant's precision.
        environment: variables that change what is compiled.
    """

    model_sha256: str
    gfx: str
    versions: Mapping[str, str]
    precision: str
    environment: Mapping[str, str]

    def folder(self, root: Path, bucket: Bucket) -> Path:
        """Return the folder for programs of this key and shape."""
        return (
            root
            / self.model_sha256[:16]
            / self.gfx
            / _digest(self.versions)
            / f"{self.precision}-{_digest(self.environment)}"
            / str(bucket)
        )


@contextmanager
def program_folder(root: Path, key: ProgramKey, bucket: Bucket) -> Iterator[Path]:
    """Lock the folder of one shape for this process, and yield it.

    The folder is emptied first if its list is missing (a process was killed at work) or does not
    fit its files (somebody changed them). If the block succeeds, the folder's files are listed; if
    it fails, they are removed.

    Raises:
        OSError: the folder cannot be written.
    """
    # Imported here because `import hazgate` does not need it.
    import shutil

    folder = key.folder(root, bucket)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{_LOCK}-{bucket}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        listed = {"key": encode(key), "files": _files(folder)}
        write_atomically(folder / _LIST, json_bytes(listed))


def _is_whole(folder: Path) -> bool:
    try:
        listed = json.loads((folder / _LIST).read_text(encoding="utf-8"))
        return bool(listed["files"] == _files(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _files(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != _LIST
    }


def _digest(values: Mapping[str, str]) -> str:
    text = json.dumps(dict(sorted(values.items())), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
