"""A bundle opens where files live: among links, clutter and mounted volumes; digests prove it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hazgate import Bundle, BundleError, Gate, IntegrityError
from hazgate.engine.options import EngineOptions
from tests.support.damage import flip_byte, replace_file
from tests.support.processes import run_python
from tests.support.tiny import SHARED_WEIGHTS

WEIGHTS = SHARED_WEIGHTS
GRAPH = "level1-int8.onnx"
TEXT = "How do I kill a Python process?"


def _problems(bundle: Path) -> list[str]:
    with pytest.raises(IntegrityError) as caught:
        Bundle.open(bundle)
    return [line[4:] for line in str(caught.value).splitlines() if line.startswith("  - ")]


def _replace_by_link(file: Path, target: Path) -> None:
    file.unlink()
    file.symlink_to(target)


# Links


def test_files_may_be_links_out_of_the_bundle_if_their_bytes_are_right(
    bundle_copy: Path, tmp_path: Path
) -> None:
    expected = Bundle.open(bundle_copy)
    for name in (WEIGHTS, GRAPH, "README.md", "bundle.json"):
        (bundle_copy / name).rename(tmp_path / "outside")
        (tmp_path / "outside").rename(tmp_path / f"{Path(name).name}.outside")
        (bundle_copy / name).symlink_to(tmp_path / f"{Path(name).name}.outside")
    assert Bundle.open(bundle_copy) == expected


def test_a_gate_answers_from_links_as_from_files(bundle_copy: Path, tmp_path: Path) -> None:
    options = EngineOptions(threads=1)
    expected = Gate.open(bundle_copy, engine=options).check(TEXT, all_levels=True)
    for number, file in enumerate(sorted(bundle_copy.rglob("*.*"))):
        # Each in a folder of its own: no two of them are neighbours any more.
        target = tmp_path / "elsewhere" / str(number) / "blob"
        target.parent.mkdir(parents=True)
        file.rename(target)
        file.symlink_to(target)
    assert Gate.open(bundle_copy, engine=options).check(TEXT, all_levels=True) == expected


def test_the_bytes_behind_a_link_are_those_that_count(bundle_copy: Path, tmp_path: Path) -> None:
    shutil.copy(bundle_copy / GRAPH, tmp_path / "outside.onnx")
    flip_byte(tmp_path / "outside.onnx")
    _replace_by_link(bundle_copy / GRAPH, tmp_path / "outside.onnx")
    assert _problems(bundle_copy) == [f"{GRAPH}: SHA-256 differs from the manifest's"]
    with pytest.raises(IntegrityError, match=GRAPH):
        Gate.open(bundle_copy, engine=EngineOptions(threads=1))


def test_a_link_that_the_manifest_does_not_list_is_foreign(bundle_copy: Path) -> None:
    (bundle_copy / "another.onnx").symlink_to(bundle_copy / GRAPH)
    assert _problems(bundle_copy) == ["another.onnx: not listed in bundle.json"]


def test_a_linked_folder_is_refused_though_its_bytes_are_right(
    bundle_copy: Path, tmp_path: Path
) -> None:
    (bundle_copy / "weights").rename(tmp_path / "outside")
    (bundle_copy / "weights").symlink_to(tmp_path / "outside")
    assert _problems(bundle_copy) == ["weights: is a link to a folder; only files may be links"]


def _folder(folder: Path) -> Path:
    (folder / "a folder").mkdir()
    return folder / "a folder"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a pipe")
    return folder / "a pipe"


def _loop(folder: Path) -> Path:
    (folder / "a loop").symlink_to(folder / "a loop")
    return folder / "a loop"


ENDS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "device": (lambda _: Path("/dev/zero"), "is a link to a device, expected a regular file"),
    "pipe": (_pipe, "is a link to a pipe, expected a regular file"),
    "folder": (_folder, "is a link to a folder, expected a regular file"),
    "loop": (_loop, "cannot be read: Too many levels of symbolic links"),
    "nothing": (lambda folder: folder / "nothing", "is a link to nothing"),
}


@pytest.mark.parametrize("end", ENDS)
def test_links_that_end_at_no_file_are_named(bundle_copy: Path, tmp_path: Path, end: str) -> None:
    make, problem = ENDS[end]
    _replace_by_link(bundle_copy / GRAPH, make(tmp_path))
    assert _problems(bundle_copy) == [f"{GRAPH}: {problem}"]


@pytest.mark.parametrize("end", ["folder", "loop"])
def test_a_manifest_that_ends_at_no_file_is_refused(
    bundle_copy: Path, tmp_path: Path, end: str
) -> None:
    _replace_by_link(bundle_copy / "bundle.json", ENDS[end][0](tmp_path))
    with pytest.raises(BundleError, match="cannot be read as a bundle"):
        Bundle.open(bundle_copy)


@pytest.mark.parametrize("end", ["device", "pipe"])
def test_a_manifest_without_an_end_is_not_waited_for(
    bundle_copy: Path, tmp_path: Path, end: str
) -> None:
    _replace_by_link(bundle_copy / "bundle.json", ENDS[end][0](tmp_path))
    # In a process of its own: a reader that waits for ever cannot be called off.
    done = run_python("-c", "import hazgate, sys; hazgate.Bundle.open(sys.argv[1])", bundle_copy)
    assert "cannot be read as a bundle: bundle.json is a link to a" in done.stderr


def test_an_empty_file_that_is_a_device_is_no_file(bundle_copy: Path) -> None:
    # The size and the bytes of /dev/null are those of an empty file.
    replace_file(bundle_copy, "README.md", b"")
    _replace_by_link(bundle_copy / "README.md", Path("/dev/null"))
    assert _problems(bundle_copy) == ["README.md: is a link to a device, expected a regular file"]


# Clutter


CLUTTER = (
    ".gitattributes",
    ".cache/huggingface/download/level1-int8.onnx.metadata",
    ".cache/huggingface/.gitignore",
    ".git/objects/pack/pack-1.pack",
    ".DS_Store",
    "weights/.DS_Store",
    "._level1-int8.onnx",
    "lost+found/#1",
)


def test_clutter_is_ignored_by_name(bundle_copy: Path) -> None:
    expected = Bundle.open(bundle_copy)
    for name in CLUTTER:
        (bundle_copy / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle_copy / name).write_bytes(b"left behind")
    assert Bundle.open(bundle_copy) == expected


@pytest.mark.parametrize(
    "name", ["weights/.gitattributes", "weights/.cache/x", "cache/x", "DS_Store", ".cached"]
)
def test_names_like_clutters_are_foreign(bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle_copy / name).write_bytes(b"")
    assert _problems(bundle_copy) == [f"{name}: not listed in bundle.json"]


# Volumes of Kubernetes


def _publish(bundle: Path, volume: Path, stamp: str) -> None:
    """Write what a kubelet's atomic writer writes: a stamped folder, and links."""
    shutil.copytree(bundle, volume / f"..{stamp}")
    (volume / "..data_tmp").symlink_to(f"..{stamp}")
    (volume / "..data_tmp").rename(volume / "..data")
    for entry in bundle.iterdir():
        if not (volume / entry.name).is_symlink():
            (volume / entry.name).symlink_to(f"..data/{entry.name}")


@pytest.fixture
def volume(tiny_bundle: Path, tmp_path: Path) -> Path:
    _publish(tiny_bundle, tmp_path / "volume", "2026_11_28_09_00_00.1")
    return tmp_path / "volume"


def test_a_kubernetes_volume_answers_as_the_bundle_does(volume: Path, tiny_bundle: Path) -> None:
    options = EngineOptions(threads=1)
    expected = Gate.open(tiny_bundle, engine=options).check(TEXT, all_levels=True)
    assert Gate.open(volume, engine=options).check(TEXT, all_levels=True) == expected


def test_a_volume_that_is_updated_does_not_mix_two_bundles(volume: Path, bundle_copy: Path) -> None:
    before = Bundle.open(volume)
    replace_file(bundle_copy, "README.md", b"another release")
    _publish(bundle_copy, volume, "2026_11_28_10_00_00.2")
    assert before.file("README.md").read_bytes() != b"another release"
    after = Bundle.open(volume)
    assert after.digest != before.digest
    assert after.file("README.md").read_bytes() == b"another release"


@pytest.mark.parametrize("foreign", ["a file", "a folder", "a link elsewhere"])
def test_what_a_volume_did_not_put_there_is_named(volume: Path, foreign: str) -> None:
    extra = volume / "extra"
    if foreign == "a file":
        extra.write_bytes(b"")
    elif foreign == "a folder":
        extra.mkdir()
    else:
        extra.symlink_to("/etc/hostname")
    assert _problems(volume) == ["extra: not listed in bundle.json"]


@pytest.mark.parametrize("end", ["outside", "nothing", "a file", "itself"])
def test_a_volumes_link_that_leads_elsewhere_is_refused(
    volume: Path, tiny_bundle: Path, end: str
) -> None:
    (volume / "..data").unlink()
    targets = {
        "outside": tiny_bundle,
        "nothing": Path("..gone"),
        "a file": Path("bundle.json"),
        "itself": Path("..data"),
    }
    (volume / "..data").symlink_to(targets[end])
    with pytest.raises(BundleError, match=r"\.\.data|Symlink loop|symbolic links"):
        Bundle.open(volume)


# Links through another container's root, as KServe's modelcars are


# A process with mounts of its own, root of a namespace of its own if need be, as a container is.
_CONTAINER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
USER, MOUNTS = 0x10000000, 0x20000
RECURSIVE, BIND, PRIVATE, DETACH = 0x4000, 0x1000, 0x40000, 2
root = os.fsencode(sys.argv[1])
assert libc.unshare(MOUNTS) == 0 or libc.unshare(USER | MOUNTS) == 0
assert libc.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None) == 0
assert libc.mount(root, root, None, RECURSIVE | BIND, None) == 0
os.chdir(root)
assert libc.pivot_root(b".", b".") == 0
assert libc.umount2(b".", DETACH) == 0
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def _container(root: Path) -> Iterator[int]:
    """Run a process whose root is `root`; yield its id."""
    command = [sys.executable, "-c", _CONTAINER, os.fspath(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "namespaces are forbidden here"
        yield process.pid
        process.stdin.close()


def test_a_modelcar_opens_through_another_processs_root(tiny_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "image" / "models")
    (tmp_path / "mnt").mkdir()
    options = EngineOptions(threads=1)
    expected = Gate.open(tiny_bundle, engine=options).check(TEXT, all_levels=True)
    with _container(tmp_path / "image") as process:
        (tmp_path / "mnt" / "models").symlink_to(f"/proc/{process}/root/models")
        # By name the link leads to /models of this root, which does not exist.
        gate = Gate.open(tmp_path / "mnt" / "models", engine=options)
        assert gate.check(TEXT, all_levels=True) == expected


def test_a_bundle_stays_the_release_that_a_link_named(
    tiny_bundle: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "current").symlink_to(tiny_bundle)
    bundle = Bundle.open(tmp_path / "current")
    replace_file(bundle_copy, "README.md", b"another release")
    (tmp_path / "next").symlink_to(bundle_copy)
    (tmp_path / "next").rename(tmp_path / "current")
    assert bundle.file("README.md").read_bytes() == (tiny_bundle / "README.md").read_bytes()
