"""A bundle opens only when every file is the one that was exported."""

import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from hazgate import Bundle, BundleError, Gate, IntegrityError, ManifestError
from hazgate.engine.options import EngineOptions
from tests.support.damage import edit_manifest, flip_byte, replace_file
from tests.support.processes import run_python
from tests.support.tiny import SHARED_WEIGHTS

WEIGHTS = SHARED_WEIGHTS
GRAPH = "level1-int8.onnx"
TOKENIZER = "tokenizer.json"
TEXT = "How do I kill a Python process?"


def _problems(bundle: Path) -> list[str]:
    """Return the problems that opening `bundle` reports about its files."""
    with pytest.raises(IntegrityError) as caught:
        Bundle.open(bundle)
    message = str(caught.value)
    assert str(bundle) in message
    return [line[4:] for line in message.splitlines() if line.startswith("  - ")]


def test_a_whole_bundle_opens_and_says_what_it_is(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    assert bundle.manifest.name == "tiny"
    assert list(bundle.manifest.levels) == ["level1", "level2"]
    assert bundle.file(WEIGHTS) == tiny_bundle.resolve() / WEIGHTS
    assert bundle.file(WEIGHTS).is_file()


def test_the_path_may_be_text(tiny_bundle: Path) -> None:
    assert Bundle.open(str(tiny_bundle)) == Bundle.open(tiny_bundle)


def test_the_digest_is_the_manifests_and_stays_with_the_files(
    tiny_bundle: Path, bundle_copy: Path
) -> None:
    expected = hashlib.sha256((tiny_bundle / "bundle.json").read_bytes()).hexdigest()
    assert Bundle.open(tiny_bundle).digest == expected
    assert Bundle.open(bundle_copy).digest == expected
    edit_manifest(bundle_copy, lambda data: data.update(description="another"))
    assert Bundle.open(bundle_copy).digest != expected


def test_a_moved_bundle_gives_the_same_verdict(tiny_bundle: Path, bundle_copy: Path) -> None:
    moved = bundle_copy.rename(bundle_copy.with_name("moved elsewhere, ä"))
    expected = Gate.open(tiny_bundle, engine=EngineOptions(threads=1)).check(TEXT, all_levels=True)
    assert (
        Gate.open(moved, engine=EngineOptions(threads=1)).check(TEXT, all_levels=True) == expected
    )


def test_a_bundle_opens_through_a_link_to_its_directory(tiny_bundle: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(tiny_bundle)
    assert Gate.open(link, engine=EngineOptions(threads=1)).check(TEXT) == Gate.open(
        tiny_bundle, engine=EngineOptions(threads=1)
    ).check(TEXT)


def test_a_missing_directory_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere is not a bundle: it has no bundle\.json"):
        Bundle.open(tmp_path / "nowhere")


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"make export"):
        Bundle.open(tmp_path)


def test_a_file_is_no_bundle(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read as a bundle"):
        Bundle.open(tiny_bundle / TOKENIZER)


def test_a_directory_in_the_manifests_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").mkdir()
    with pytest.raises(BundleError, match="cannot be read as a bundle"):
        Bundle.open(tmp_path)


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        Bundle.open(f"{tmp_path}\0")


def test_an_enormous_manifest_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "bundle.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(BundleError, match="larger than"):
        Bundle.open(tmp_path)


def test_a_spoiled_manifest_is_a_manifest_error(bundle_copy: Path) -> None:
    manifest = bundle_copy / "bundle.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    with pytest.raises(ManifestError, match="not a JSON document"):
        Bundle.open(bundle_copy)


@pytest.mark.parametrize("name", [WEIGHTS, GRAPH, TOKENIZER, "README.md", "parity.json"])
def test_a_missing_file_is_named(bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).unlink()
    assert _problems(bundle_copy) == [f"{name}: missing"]


@pytest.mark.parametrize("change_bytes", [-1, 1], ids=["truncated", "longer"])
def test_a_file_of_another_size_is_named_with_both_sizes(
    bundle_copy: Path, change_bytes: int
) -> None:
    file = bundle_copy / WEIGHTS
    size = file.stat().st_size
    os.truncate(file, size + change_bytes)
    assert _problems(bundle_copy) == [
        f"{WEIGHTS}: expected {size} bytes, found {size + change_bytes}"
    ]


@pytest.mark.parametrize("offset", [0, None, -1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("name", [WEIGHTS, GRAPH, TOKENIZER])
def test_one_flipped_bit_is_found(bundle_copy: Path, name: str, offset: int | None) -> None:
    flip_byte(bundle_copy / name, offset)
    assert _problems(bundle_copy) == [f"{name}: SHA-256 differs from the manifest's"]


@pytest.mark.parametrize("name", ["extra.txt", "weights/extra.bin", "new/folder/file", ".hidden"])
def test_a_foreign_file_is_named(bundle_copy: Path, name: str) -> None:
    (bundle_copy / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle_copy / name).write_bytes(b"")
    assert _problems(bundle_copy) == [f"{name}: not listed in bundle.json"]


def test_a_directory_in_a_files_place_is_named(bundle_copy: Path) -> None:
    (bundle_copy / GRAPH).unlink()
    (bundle_copy / GRAPH).mkdir()
    assert [problem.split(": ")[0] for problem in _problems(bundle_copy)] == [GRAPH]


def test_a_pipe_in_a_files_place_is_named_and_not_waited_for(bundle_copy: Path) -> None:
    # An empty file is the one whose size a pipe has.
    replace_file(bundle_copy, "README.md", b"")
    (bundle_copy / "README.md").unlink()
    os.mkfifo(bundle_copy / "README.md")
    # In a process of its own: a reader that waits for a writer cannot be called off.
    done = run_python("-m", "hazgate", "verify-files", str(bundle_copy))
    assert done.returncode == 3
    assert "README.md: " in done.stderr


def test_all_problems_are_reported_together(bundle_copy: Path) -> None:
    (bundle_copy / "README.md").unlink()
    flip_byte(bundle_copy / WEIGHTS)
    os.truncate(bundle_copy / GRAPH, 10)
    (bundle_copy / "foreign").write_bytes(b"")
    named = [problem.split(": ")[0] for problem in _problems(bundle_copy)]
    assert sorted(named) == sorted(["README.md", WEIGHTS, GRAPH, "foreign"])


def test_a_bundle_runs_from_a_read_only_directory_and_changes_nothing(bundle_copy: Path) -> None:
    before = _snapshot(bundle_copy)
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    locked = _snapshot(bundle_copy)
    for variant in ("fp32", "int8"):
        gate = Gate.open(bundle_copy, engine=EngineOptions(variant=variant, threads=1))
        assert gate.check(TEXT, all_levels=True).hazards
    # Permissions do not bind root, so the files themselves have to say that nobody wrote.
    assert _snapshot(bundle_copy) == locked
    for path in before:
        path.chmod(stat.S_IMODE(before[path][0]))


def _snapshot(bundle: Path) -> dict[Path, tuple[int, int, int]]:
    paths = [bundle, *bundle.rglob("*")]
    stats = {path: path.lstat() for path in paths}
    return {path: (s.st_mode, s.st_size, s.st_mtime_ns) for path, s in stats.items()}


@pytest.mark.parametrize("kept", ["bundle.json", "*.*"], ids=["manifest", "top level"])
def test_a_half_copied_bundle_names_all_that_is_missing(
    tiny_bundle: Path, tmp_path: Path, kept: str
) -> None:
    for file in tiny_bundle.glob(kept):
        shutil.copy(file, tmp_path)
    listed = Bundle.open(tiny_bundle).manifest.files
    gone = {f"{name}: missing" for name in listed if not (tmp_path / name).exists()}
    assert f"{WEIGHTS}: missing" in gone
    assert set(_problems(tmp_path)) == gone


# What a gate reads through


def test_a_gate_does_not_read_what_only_other_variants_need(bundle_copy: Path) -> None:
    flip_byte(bundle_copy / "level1-fp32.onnx")
    assert (
        Gate.open(bundle_copy, engine=EngineOptions(variant="int8", threads=1))
        .check(TEXT)
        .model.variant
        == "int8"
    )
    with pytest.raises(IntegrityError, match=r"level1-fp32\.onnx: SHA-256 differs"):
        Gate.open(bundle_copy, engine=EngineOptions(variant="fp32", threads=1))


def test_a_gate_misses_the_files_of_other_variants(bundle_copy: Path) -> None:
    (bundle_copy / "level2-fp32.onnx").unlink()
    with pytest.raises(IntegrityError, match=r"level2-fp32\.onnx: missing"):
        Gate.open(bundle_copy, engine=EngineOptions(variant="int8", threads=1))


@pytest.mark.parametrize("file", [WEIGHTS, GRAPH, TOKENIZER])
def test_a_gate_of_the_default_variant_reads_through_all_that_it_serves(
    bundle_copy: Path, file: str
) -> None:
    flip_byte(bundle_copy / file)
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        Gate.open(bundle_copy, engine=EngineOptions(threads=1))
