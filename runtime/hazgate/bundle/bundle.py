"""A bundle on disk, opened only if every file is the one that was exported."""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hazgate.bundle.hub import fetch_bundle, is_hub_reference, parse_reference
from hazgate.bundle.manifest import MANIFEST_FILE, FileSpec, Manifest
from hazgate.bundle.manifest_checks import parse_manifest
from hazgate.bundle.places import foreign_files, kind_problem, locate
from hazgate.bundle.sealed import CURE, SealedFile, identity_of
from hazgate.documents.problems import list_problems
from hazgate.errors import BundleError, IntegrityError

# A manifest has some kilobytes; a larger file is not one, and is not read into memory.
_MAX_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A verified bundle directory.

    The files that were hashed stay open: `read` and `sealed` give what was hashed, also if the
    directory has other files by now.
    """

    root: Path
    manifest: Manifest
    digest: str
    _sealed: Mapping[str, SealedFile] = field(repr=False, compare=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Bundle":
        """Read the manifest and verify that the directory holds exactly what it lists.

        Nothing is written: a bundle can be on a read-only file system. Its files may be links, as
        in the cache of the Hub: their bytes count, not their place. Clutter that tools leave, such
        as .git and .DS_Store, is ignored; see `hazgate.bundle.places`.

        Args:
            path: a directory, or hub:owner/name@commit, which is downloaded to the Hub's cache.

        Raises:
            BundleError: `path` is not a bundle directory, or the Hub does not give it.
            ManifestError: the manifest is wrong, or of a newer schema.
            IntegrityError: files are missing, foreign, changed, or not regular files; names all of
                them.
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

    def sealed(self, name: str) -> SealedFile:
        """Return the manifest's file `name` behind the descriptor through which it was hashed.

        Raises:
            IntegrityError: it was not hashed when the bundle was opened, and now it is not the
                one that was exported.
        """
        found = self._sealed.get(name)
        if found is not None:
            return found
        opened = _check(self.root, name, self.manifest.files[name], read_through=True)
        if isinstance(opened, SealedFile):
            return opened
        raise IntegrityError(f"{opened or name}; {CURE}")

    def read(self, name: str) -> bytes:
        """Return the bytes of the manifest's file `name`, hashed as they are returned.

        Raises:
            IntegrityError: they are not those that were exported.
        """
        return self.sealed(name).read()


def bundle_digest(path: str | os.PathLike[str]) -> str:
    """Return the digest of the bundle at a path; nothing but its manifest is read.

    Raises:
        BundleError: as of `Bundle.open`.
    """
    on_hub = is_hub_reference(path)
    place = locate(fetch_bundle(parse_reference(os.fspath(path))) if on_hub else Path(path))
    return hashlib.sha256(_read_manifest(place.root, Path(path))).hexdigest()


def _open(path: str | os.PathLike[str], read: Callable[[Manifest], set[str]]) -> Bundle:
    on_hub = is_hub_reference(path)
    place = locate(fetch_bundle(parse_reference(os.fspath(path))) if on_hub else Path(path))
    root = place.root
    text = _read_manifest(root, Path(path))
    manifest = parse_manifest(text)
    listed = {*manifest.files, MANIFEST_FILE}
    problems = [*place.problems, *foreign_files(root, listed)]
    hashed = read(manifest)

    def check(item: tuple[str, FileSpec]) -> SealedFile | str | None:
        name, expected = item
        return _check(root, name, expected, read_through=name in hashed)

    # Imported here because `import hazgate` does not need it.
    from concurrent.futures import ThreadPoolExecutor

    # Hashing releases the interpreter lock, so threads make a large bundle faster.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        found = list(pool.map(check, manifest.files.items()))
    problems += [each for each in found if isinstance(each, str)]
    if problems:
        cure = (
            f"Remove {root} and open the bundle again to download it anew"
            if on_hub
            else "Copy or export it again"
        )
        raise IntegrityError(
            f"{path} is not the bundle that was exported:{list_problems(problems)}\n"
            f"{cure}; do not serve it."
        )
    return Bundle(
        root=root,
        manifest=manifest,
        digest=hashlib.sha256(text).hexdigest(),
        _sealed={each.name: each for each in found if isinstance(each, SealedFile)},
    )


def _read_manifest(root: Path, named: Path) -> bytes:
    file = root / MANIFEST_FILE
    try:
        status = file.stat()
        if problem := kind_problem(file, status):
            raise BundleError(f"{named} cannot be read as a bundle: {MANIFEST_FILE} {problem}")
        if status.st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{named}: {MANIFEST_FILE} is larger than {_MAX_MANIFEST_BYTES} B")
        return file.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(
            f"{named} is not a bundle: it has no {MANIFEST_FILE}. `make export` builds one."
        ) from error
    except OSError as error:
        raise BundleError(f"{named} cannot be read as a bundle: {error}") from error


def _check(
    root: Path, name: str, expected: FileSpec, *, read_through: bool
) -> SealedFile | str | None:
    """Return a file that was hashed, or what is wrong with it; None if it only has to exist."""
    file = root / name
    try:
        # The kernel follows the links: what it reaches is what an engine will read.
        status = file.stat()
        if problem := kind_problem(file, status):
            return f"{name}: {problem}"
        size_bytes = status.st_size
        if size_bytes != expected.size_bytes:
            return f"{name}: expected {expected.size_bytes} bytes, found {size_bytes}"
        if not read_through:
            return None
        sealed = SealedFile(file, name, expected)
        if identity_of(sealed.status) != identity_of(status):
            return f"{name}: was replaced while it was opened"
        if sealed.sha256() != expected.sha256:
            return f"{name}: SHA-256 differs from the manifest's"
        if not sealed.is_unchanged():
            return f"{name}: was changed while it was read"
    except FileNotFoundError:
        return f"{name}: is a link to nothing" if file.is_symlink() else f"{name}: missing"
    except OSError as error:
        return f"{name}: cannot be read: {error.strerror}"
    return sealed
