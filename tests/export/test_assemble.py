"""A bundle is there whole or not at all: kill, full disk, missed gates and foreign targets."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hazgate import Bundle
from hazgate.documents.folders import partial_folder
from hazgate.errors import BundleError
from hazgate_export.build import build
from hazgate_export.errors import ParityMissed, RecipeError
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe import load_recipe


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _command(recipe: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "hazgate_export", "build", str(recipe), "--out", str(out)]


def test_a_build_leaves_nothing_but_the_bundle(tiny_bundle: Path) -> None:
    assert _entries(tiny_bundle.parent) == [tiny_bundle.name]
    assert oct(tiny_bundle.stat().st_mode & 0o777) == "0o755"


def test_building_again_replaces_the_bundle(tiny_recipe: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    first = build(load_recipe(tiny_recipe), target, LocalSources())
    inode = target.stat().st_ino
    second = build(load_recipe(tiny_recipe), target, LocalSources())
    assert first.bundle.digest == second.bundle.digest
    assert target.stat().st_ino != inode
    assert _entries(tmp_path) == ["bundle"]


def test_a_missed_gate_leaves_no_bundle_and_exits_with_1(tiny_recipe: Path, tmp_path: Path) -> None:
    strict = tiny_recipe.with_name("strict.toml")
    text = tiny_recipe.read_text(encoding="utf-8")
    strict.write_text(text.replace("max_abs_logit_diff = 99.0", "max_abs_logit_diff = 1e-9"))
    done = subprocess.run(
        _command(strict, tmp_path / "bundle"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "MISSED" in done.stdout
    assert "level1 int8: logits differ by" in done.stderr
    assert _entries(tmp_path) == []


def test_a_missed_gate_keeps_the_bundle_that_was_there(
    tiny_recipe: Path, bundle_copy: Path
) -> None:
    digest = Bundle.open(bundle_copy).digest
    strict = tiny_recipe.with_name("stricter.toml")
    text = tiny_recipe.read_text(encoding="utf-8")
    strict.write_text(text.replace("max_abs_logit_diff = 1e-4", "max_abs_logit_diff = 1e-12"))
    with pytest.raises(ParityMissed) as caught:
        build(load_recipe(strict), bundle_copy, LocalSources())
    assert len(caught.value.parities) == 4
    assert Bundle.open(bundle_copy).digest == digest


def test_a_killed_build_leaves_nothing_that_opens_and_the_next_one_cleans_up(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        _command(tiny_recipe, tmp_path / "bundle"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Killed once weights are being written: the directory is as full as it gets before the end.
    while not list(tmp_path.glob(".bundle.partial-*/bundle/weights/*")):
        assert process.poll() is None, "the build ended before it was killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list(tmp_path.glob(".bundle.partial-*"))
    assert len(left) == 1
    assert not (tmp_path / "bundle").exists()
    with pytest.raises(BundleError):
        Bundle.open(left[0] / "bundle")
    build(load_recipe(tiny_recipe), tmp_path / "bundle", LocalSources())
    assert _entries(tmp_path) == ["bundle"]


def test_a_running_builds_directory_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with partial_folder(target) as first, partial_folder(target) as second:
        assert first.is_dir()
        assert second.is_dir()
    assert _entries(tmp_path) == []


def test_a_full_disk_is_an_error_with_exit_code_3_and_leaves_nothing(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    # A limit on the size of any file fails a write half-way, as a full disk does.
    script = (
        "import resource, runpy, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        f"sys.argv = {_command(tiny_recipe, tmp_path / 'bundle')[2:]!r}\n"
        "runpy.run_module('hazgate_export', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert _entries(tmp_path) == []


def test_a_directory_that_is_no_bundle_is_not_overwritten(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BundleError, match="will not be overwritten"):
        build(load_recipe(tiny_recipe), tmp_path, LocalSources())
    assert _entries(tmp_path) == ["thesis.txt"]


def test_a_local_adapter_for_no_level_is_a_recipe_error(tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no level"):
        build(
            load_recipe(tiny_recipe),
            tmp_path / "bundle",
            LocalSources(adapters={"level9": tmp_path}),
        )


def test_more_tokens_than_positions_is_a_recipe_error(tiny_recipe: Path, tmp_path: Path) -> None:
    long = tiny_recipe.with_name("long.toml")
    text = tiny_recipe.read_text(encoding="utf-8")
    long.write_text(text.replace("max_tokens = 64", "max_tokens = 4096"))
    with pytest.raises(RecipeError, match="128 positions"):
        build(load_recipe(long), tmp_path / "bundle", LocalSources())


def test_no_absolute_path_of_the_building_machine_is_in_the_bundle(tiny_bundle: Path) -> None:
    needles = [os.fsencode(tiny_bundle.parent), b"/tmp/", os.fsencode(Path.home())]
    for file in tiny_bundle.rglob("*"):
        if file.is_file() and file.suffix in (".onnx", ".json", ".md"):
            content = file.read_bytes()
            assert not any(needle in content for needle in needles if len(needle) > 1), file.name
