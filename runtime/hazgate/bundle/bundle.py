"""A bundle on disk, opened only if every file is the one that was exported."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.manifest import MANIFEST_FILE, FileSpec, Manifest
from hazgate.documents.files import sha256
from hazgate.documents.problems import list_problems
from hazgate.errors import BundleError, IntegrityError

# A manifest has some kilobytes; a larger file is not one, and is not read into memory.
_MAX_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A verified bundle directory."""

    root: Path
    manifest: Manifest
    digest: str

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Bundle":
        """Read the manifest and verify that the directory holds exactly what it lists.

        Nothing is written: a bundle can be on a read-only file system.

        Raises:
            BundleError: `path` is not a bundle directory.
            ManifestError: the manifest is wrong, or of a newer schema.
            IntegrityError: files are missing, foreign, changed, or links out of the bundle; names
                all of them.
        """
        return _open(path, lambda manifest: set(manifest.files))

    @classmethod
    def open_variant(
        cls, path: str | os.PathLike[str], choose: Callable[[Manifest], str]
    ) -> "Bundle":
        """Open as `open` does, but hash only the files that one variant needs.

        The others are checked for existence and size: a gateway does not wait for gigabytes that
        it will never map. `choose` names the variant once the manifest is known.
        """
        return _open(path, lambda manifest: manifest.files_of(choose(manifest)))

    def file(self, name: str) -> Path:
        """Return the path of the manifest's file `name`."""
        return self.root / name


def _open(path: str | os.PathLike[str], read: Callable[[Manifest], set[str]]) -> Bundle:
    try:
        root = Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself; a NUL
        raise BundleError(f"{os.fspath(path)!r} is not a path of a bundle: {error}") from error
    text = _read_manifest(root, Path(path))
    manifest = Manifest.parse(text)
    problems = list(_unlisted(root, manifest))
    hashed = read(manifest)

    def check(item: tuple[str, FileSpec]) -> list[str]:
        name, expected = item
        return _check(root, name, expected, read_through=name in hashed)

    # Imported here because `import hazgate` does not need it.
    from concurrent.futures import ThreadPoolExecutor

    # Hashing releases the interpreter lock, so threads make a large bundle faster.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        for found in pool.map(check, manifest.files.items()):
            problems.extend(found)
    if problems:
        raise IntegrityError(
            f"{path} is not the bundle that was exported:{list_problems(problems)}\n"
            "Copy or export it again; do not serve it."
        )
    return Bundle(root=root, manifest=manifest, digest=hashlib.sha256(text).hexdigest())


def _read_manifest(root: Path, named: Path) -> bytes:
    file = root / MANIFEST_FILE
    try:
        if not file.resolve().is_relative_to(root):
            raise BundleError(f"{named}: {MANIFEST_FILE} is a link out of the bundle")
        if file.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{named}: {MANIFEST_FILE} is larger than {_MAX_MANIFEST_BYTES} B")
        return file.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(
            f"{named} is not a bundle: it has no {MANIFEST_FILE}. `make export` builds one."
        ) from error
    except (OSError, RuntimeError) as error:
        raise BundleError(f"{named} cannot be read as a bundle: {error}") from error


def _unlisted(root: Path, manifest: Manifest) -> Iterator[str]:
    """Yield a problem for each file of the bundle that its manifest does not list."""
    for folder, folders, files in os.walk(root, followlinks=False):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            relative = (Path(folder) / name).relative_to(root).as_posix()
            if relative not in manifest.files and relative != MANIFEST_FILE:
                yield f"{relative}: not listed in {MANIFEST_FILE}"


def _check(root: Path, name: str, expected: FileSpec, *, read_through: bool) -> list[str]:
    file = root / name
    try:
        if not file.resolve().is_relative_to(root):
            return [f"{name}: is a link out of the bundle"]
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            return [f"{name}: is not a regular file"]
        size_bytes = status.st_size
        if size_bytes != expected.size_bytes:
            return [f"{name}: expected {expected.size_bytes} bytes, found {size_bytes}"]
        if read_through and sha256(file) != expected.sha256:
            return [f"{name}: SHA-256 differs from the manifest's"]
    except FileNotFoundError:
        return [f"{name}: missing"]
    except OSError as error:
        return [f"{name}: cannot be read: {error.strerror}"]
    except RuntimeError:  # pathlib before Python 3.13
        return [f"{name}: is a link to itself"]
    return []
