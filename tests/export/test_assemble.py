"""A bundle is there whole or not at all: kill, full disk, missed gates and foreign targets."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hazgate import Bundle
from hazgate.documents.folders import partial_folder
from hazgate.errors import BundleError
from hazgate_export.__main__ import cli
from hazgate_export.build import build
from hazgate_export.errors import ParityMissed, RecipeError
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from tests.support.tiny import write_quick_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quick_recipe(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of one level and one graph: a bundle's assembly is the same for more of them."""
    return write_quick_recipe(tiny_recipe, tmp_path_factory.mktemp("quick") / "quick.toml")


# How a bundle is written does not depend on how well it is proven.
pytestmark = pytest.mark.usefixtures("few_proof_texts")


def _entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _strict_recipe(quick_recipe: Path, folder: Path) -> Path:
    """Write a recipe whose limit no graph keeps."""
    text = quick_recipe.read_text(encoding="utf-8")
    assert "max_abs_logit_diff = 1e-4" in text
    strict = folder / "strict.toml"
    strict.write_text(text.replace("max_abs_logit_diff = 1e-4", "max_abs_logit_diff = 1e-12"))
    return strict


def _build_by_command(recipe: Path, out: Path) -> Result:
    return CliRunner().invoke(cli, ["build", str(recipe), "--out", str(out)])


def test_a_build_leaves_nothing_but_the_bundle(tiny_bundle: Path) -> None:
    assert _entries(tiny_bundle.parent) == [tiny_bundle.name]
    assert oct(tiny_bundle.stat().st_mode & 0o777) == "0o755"


def test_building_again_replaces_the_bundle(quick_recipe: Path, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    first = build(load_recipe(quick_recipe), target, LocalSources())
    inode = target.stat().st_ino
    second = build(load_recipe(quick_recipe), target, LocalSources())
    assert first.bundle.digest == second.bundle.digest
    assert target.stat().st_ino != inode
    assert _entries(tmp_path) == ["bundle"]


def test_a_missed_gate_leaves_no_bundle_and_exits_with_1(
    quick_recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = _build_by_command(_strict_recipe(quick_recipe, tmp_path), out / "bundle")
    assert done.exit_code == 1
    assert "MISSED" in done.stdout
    assert "level1 fp32: logits differ by" in done.stderr
    assert _entries(out) == []


def test_a_missed_gate_keeps_the_bundle_that_was_there(
    quick_recipe: Path, bundle_copy: Path, tmp_path: Path
) -> None:
    digest = Bundle.open(bundle_copy).digest
    strict = _strict_recipe(quick_recipe, tmp_path)
    with pytest.raises(ParityMissed) as caught:
        build(load_recipe(strict), bundle_copy, LocalSources())
    assert len(caught.value.parities) == 1
    assert Bundle.open(bundle_copy).digest == digest


def test_a_killed_build_leaves_nothing_that_opens_and_the_next_one_cleans_up(
    quick_recipe: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.support.few_texts", "build", str(quick_recipe)]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "bundle")],
        cwd=ROOT,
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
    build(load_recipe(quick_recipe), tmp_path / "bundle", LocalSources())
    assert _entries(tmp_path) == ["bundle"]


def test_a_running_builds_directory_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with partial_folder(target) as first, partial_folder(target) as second:
        assert first.is_dir()
        assert second.is_dir()
    assert _entries(tmp_path) == []


def test_a_full_disk_is_an_error_with_exit_code_3_and_leaves_nothing(
    quick_recipe: Path, tmp_path: Path
) -> None:
    # A limit on the size of any file fails a write half-way, as a full disk does. Python ignores
    # the signal that comes with it.
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        done = _build_by_command(quick_recipe, tmp_path / "bundle")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.exit_code == 3, done.output
    assert isinstance(done.exception, SystemExit)
    assert "File too large" in done.stderr
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
    files = [f for f in tiny_bundle.rglob("*") if f.suffix in (".onnx", ".json", ".md")]
    assert len(files) >= 8
    for file in files:
        content = file.read_bytes()
        assert not any(needle in content for needle in needles if len(needle) > 1), file.name
