"""`make export MODEL=mlcommons` in a clean copy, as a user types it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hazgate import Bundle, Gate
from hazgate.engine.options import EngineOptions
from tests.support.hub import serve_hub
from tests.support.published import MMBERT_ID, publish_pair
from tests.support.sources import ROOT, tracked

_COPIED = ("Makefile", "constraints.txt", "requirements-dev.txt")
_FOLDERS = ("runtime", "export")


@pytest.fixture
def clean_copy(tmp_path: Path) -> Path:
    """The distributions as Git knows them, without builds and environments."""
    copy = tmp_path / "hazgate"
    for file in tracked("*"):
        name = file.relative_to(ROOT)
        if name.parts[0] in _FOLDERS or name.as_posix() in _COPIED:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy / name)
    return copy


def _make(copy: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HAZGATE_", "MAKE"))}
    folders = ("runtime", "runtime/evaluation", "runtime/scale", "export")
    clean["PYTHONPATH"] = os.pathsep.join(str(copy / folder) for folder in folders)
    return subprocess.run(
        # This environment stands for the one that `make install` would create.
        ["make", *options, "-o", "install", "export", "MODEL=mlcommons", f"VENV={sys.prefix}"],
        cwd=copy,
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )


def test_make_builds_the_shipped_recipe(clean_copy: Path) -> None:
    done = _make(clean_copy, "-n")
    assert done.stdout == f"{sys.prefix}/bin/hazgate-export build export/recipes/mlcommons.toml\n"
    assert (clean_copy / "export/recipes/mlcommons.toml").is_file()


@pytest.mark.slow
def test_make_builds_the_pair_from_a_hub_with_the_real_file_lists(
    clean_copy: Path, tmp_path: Path
) -> None:
    with serve_hub(publish_pair(tmp_path / "published")) as hub:
        done = _make(
            clean_copy,
            HF_ENDPOINT=hub.endpoint,
            HF_HOME=str(tmp_path / "hf"),
            XDG_CACHE_HOME=str(tmp_path / "cache"),
            COLUMNS="1000",
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pytorch_model.bin: converted to safetensors" in done.stderr
    bundle = Bundle.open(clean_copy / "build" / "mlcommons")
    assert bundle.manifest.levels["level1"].base.id == MMBERT_ID
    assert bundle.manifest.levels["level2"].base.converted
    gate = Gate.open(bundle.root, engine=EngineOptions(variant="fp32", threads=1))
    verdict = gate.check("How do plants make sugar?", all_levels=True)
    assert len(verdict.hazards or {}) == 9
    # The build wrote into `build` alone.
    assert sorted(path.name for path in clean_copy.iterdir()) == sorted(
        ["build", *_COPIED, *_FOLDERS]
    )
