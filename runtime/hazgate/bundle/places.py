"""The places where a bundle can be found: a directory, a cache of links, a mounted volume."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.manifest import MANIFEST_FILE
from hazgate.errors import BundleError

# Left by the Hub's downloads, by git and by file systems at the top of what they bring. None of it
# is ever read.
_CLUTTER_AT_TOP = frozenset(
    (".cache", ".git", ".gitattributes", ".gitignore", ".huggingface", "lost+found")
)
# Left by desktops in any folder.
_CLUTTER = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
_APPLE_DOUBLE = "._"
# The link that a Kubernetes volume turns from one set of files to the next.
_VOLUME_DATA = "..data"
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The directory that holds a bundle's files, and problems of what is next to it."""

    root: Path
    problems: tuple[str, ...] = ()


def is_clutter(relative: str) -> bool:
    """Return True for names that tools leave and that no bundle's graph is ever called."""
    top, _, inside = relative.partition("/")
    name = relative.rpartition("/")[2]
    return (
        (top in _CLUTTER_AT_TOP and not inside)
        or name in _CLUTTER
        or name.startswith(_APPLE_DOUBLE)
    )


def locate(path: Path) -> Place:
    """Find the directory that `path` means now, so that all files are read from one place.

    Links on the way are followed once. A gateway that opened release 5 through `current` does not
    load weights of release 6; a Kubernetes volume that is updated meanwhile does not mix two sets.

    Raises:
        BundleError: `path` cannot be a directory's name, or is a link to itself.
    """
    try:
        root = _follow(path)
        data = root / _VOLUME_DATA
        if not data.is_symlink():
            return Place(root=root)
        current = _follow(data)
    except (OSError, RuntimeError, ValueError) as error:  # a link to itself; a NUL
        raise BundleError(f"{os.fspath(path)!r} is not a path of a bundle: {error}") from error
    if current.parent != root or not current.is_dir():
        raise BundleError(
            f"{path} cannot be read as a bundle: {_VOLUME_DATA} is no link to a folder next to it"
        )
    return Place(root=current, problems=tuple(_beside(root)))


def foreign_files(root: Path, listed: Collection[str]) -> Iterator[str]:
    """Yield a problem for each file in `root` that is neither listed nor clutter."""
    for folder, folders, files in os.walk(root, followlinks=False):
        inside = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if not is_clutter((inside / name).as_posix())]
        for name in sorted(folders):
            relative = (inside / name).as_posix()
            if relative not in listed and (Path(folder) / name).is_symlink():
                yield f"{relative}: is a link to a folder; only files may be links"
        for name in sorted(files):
            relative = (inside / name).as_posix()
            if relative not in listed and not is_clutter(relative):
                yield f"{relative}: not listed in {MANIFEST_FILE}"


def kind_problem(file: Path, status: os.stat_result) -> str | None:
    """Say what is wrong if `status`, that of the end of all links, is not of a regular file."""
    if stat.S_ISREG(status.st_mode):
        return None
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "special file")
    link = "a link to " if file.is_symlink() else ""
    return f"is {link}a {kind}, expected a regular file"


def _follow(path: Path) -> Path:
    """Resolve `path`, or keep it where its links cannot be followed by name.

    A modelcar of KServe is a link through /proc/PID/root. By name it leads to this container's
    own files; only the kernel reaches the other container's.
    """
    resolved, absolute = path.resolve(), path.absolute()
    try:
        return resolved if resolved.samefile(absolute) else absolute
    except FileNotFoundError:
        return absolute


def _beside(volume: Path) -> Iterator[str]:
    """Yield a problem for each name at the top of a Kubernetes volume that is not the volume's."""
    for entry in sorted(volume.iterdir()):
        name = entry.name
        own = entry.is_symlink() and entry.readlink() == Path(_VOLUME_DATA, name)
        if not own and not name.startswith("..") and not is_clutter(name):
            yield f"{name}: not listed in {MANIFEST_FILE}"
