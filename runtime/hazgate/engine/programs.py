"""A folder of compiled programs that cannot hold another model's.

MIGraphX names a program by its graph's file name and shapes: not by its weights, its precision, nor
what else it depends on, and it writes the file in place. So each combination of all that has a
folder of its own, one process at a time works in it, and it counts only once its list of files is
written, which comes last.

Sources: the naming and the writing are those of ONNX Runtime's MIGraphX provider, 1.23 to 1.27.
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
        model_sha256: of the graph and its weights.
        gfx: the GPU's architecture.
        versions: of ONNX Runtime, the provider, its compiler and ROCm, by name.
        precision: the variant's.
        environment: variables that change what is compiled.
    """

    model_sha256: str
    gfx: str
    versions: Mapping[str, str]
    precision: str
    environment: Mapping[str, str]

    def folder(self, root: Path, bucket: Bucket) -> Path:
        """Where the programs of this key and shape lie."""
        return (
            root
            / self.model_sha256[:16]
            / self.gfx
            / _digest(self.versions)
            / f"{self.precision}-{_digest(self.environment)}"
            / str(bucket)
        )


@contextmanager
def program_folder(root: Path, key: ProgramKey, bucket: Bucket) -> Iterator[tuple[Path, bool]]:
    """The folder of one shape, for this process alone, and whether it holds whole programs.

    What a process left behind that was killed at work, or what anybody changed since, is removed.
    If the block ends well, what lies there is listed, and is whole from then on; if it does not,
    everything is removed.

    Raises:
        OSError: the folder cannot be written.
    """
    # Imported here, for `import hazgate` does without it.
    import shutil

    folder = key.folder(root, bucket)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{_LOCK}-{bucket}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        whole = _is_whole(folder)
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        try:
            yield folder, whole
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
