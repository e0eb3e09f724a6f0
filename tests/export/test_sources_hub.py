"""The production pair, from a Hub with the real file lists, and all that can go wrong there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub.constants import DOWNLOAD_CHUNK_SIZE
from safetensors.numpy import save_file

from hazgate import Bundle
from hazgate.documents.files import sha256
from hazgate_export.__main__ import cli
from tests.support.hub import TOKEN, StandInHub, commit_of, serve_hub
from tests.support.published import (
    ADAPTER_FILES,
    BASE_FILES,
    LEVEL1_ID,
    LEVEL2_ID,
    MMBERT_ID,
    publish_pair,
)

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "export" / "recipes" / "mlcommons.toml"
READ_OF_BASE = BASE_FILES - {".gitattributes", "README.md"}
READ_OF_ADAPTER = ADAPTER_FILES - {"README.md"}
# Only downloads, no build.
_FETCH = """
import sys
from pathlib import Path
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import fetch
from hazgate_export.recipe import HubSource
source = HubSource(hub=sys.argv[1], revision=sys.argv[2])
try:
    fetched = fetch(
        source, id="the model", folder=Path(), weights=sys.argv[3], into=Path(sys.argv[4])
    )
except SourceError as error:
    sys.exit(str(error))
print(fetched.revision, *fetched.files)
"""
# The files of a recipe's levels, and what a build would print of them.
_FETCH_LEVELS = """
import json, sys
from pathlib import Path
from hazgate_export.model.pins import pins_to_paste
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.recipe_file import load_recipe
loaded = load_recipe(Path(sys.argv[1]))
sources = fetch_levels(loaded, loaded.recipe.levels, LocalSources(), Path(sys.argv[2]))
read = {
    f"{level} {part}": [one.id, one.revision, one.sha256, dict(one.files)]
    for level, both in sources.items()
    for part, one in (("base", both.base), ("adapter", both.adapter))
}
print(json.dumps({"read": read, "pins": pins_to_paste(loaded.recipe, sources)}))
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return publish_pair(tmp_path_factory.mktemp("published"))


@pytest.fixture
def hub(pair: dict[str, Path]) -> Iterator[StandInHub]:
    with serve_hub(pair) as running:
        yield running


def _run(
    hub: StandInHub | None, home: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HAZGATE_"))}
    clean |= {
        "HF_ENDPOINT": hub.endpoint if hub else "http://127.0.0.1:9",
        "HF_HOME": str(home / "hf"),
        "HF_HUB_ETAG_TIMEOUT": "2",
        "XDG_CACHE_HOME": str(home / "cache"),
        # Messages of one line each.
        "COLUMNS": "1000",
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT, env=clean | environment, capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip


def _fetch(
    hub: StandInHub | None,
    home: Path,
    repo: str = LEVEL1_ID,
    revision: str = "main",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    weights = "model" if repo == MMBERT_ID else "adapter_model"
    staged = str(home / "staged")
    return _run(hub, home, "-c", _FETCH, repo, revision, weights, staged, **environment)


def _small_recipe(folder: Path) -> Path:
    """Return the production recipe with its sources, but only one variant and short texts."""
    text = RECIPE.read_text(encoding="utf-8")
    start, end = text.index("# A quarter of the size"), text.index("# English prompts of all")
    text = text[:start] + text[end:]
    text = re.sub(r"(?s)\[int8_activations\].*?\[parity\]", "[parity]", text)
    text = re.sub(r"lengths = \[.*\]", "lengths = [1, 64, 129]", text)
    text = re.sub(r"max_tokens = \d+", "max_tokens = 256", text)
    text = re.sub(r"window_tokens = \d+", "window_tokens = 256", text)
    recipe = folder / "mlcommons.toml"
    recipe.write_text(text, encoding="utf-8")
    return recipe


def test_the_pair_is_built_from_the_files_that_its_repositories_have(
    hub: StandInHub, pair: dict[str, Path], tmp_path: Path
) -> None:
    assert {path.name for path in pair[MMBERT_ID].iterdir()} == BASE_FILES
    assert {path.name for path in pair[LEVEL1_ID].iterdir()} == ADAPTER_FILES
    recipe, out = _small_recipe(tmp_path), tmp_path / "bundle"
    command = ("-m", "tests.support.few_texts", "build", str(recipe), "--out", str(out))
    done = _run(hub, tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert "pytorch_model.bin: converted to safetensors" in done.stderr
    assert f"from the mirror {hub.endpoint} (HF_ENDPOINT)" in done.stderr

    bundle = Bundle.open(out)
    levels = bundle.manifest.levels
    base, adapter = levels["level1"].base, levels["level2"].adapter
    assert adapter is not None
    level1 = levels["level1"].adapter
    assert level1 is not None
    pickle = sha256(pair[MMBERT_ID] / "pytorch_model.bin")
    assert base.revision == "c1f0235877cb42fce3ee84258a5206183955b671"
    assert base.sha256 == pickle
    assert base.files == {name: sha256(pair[MMBERT_ID] / name) for name in READ_OF_BASE}
    (converted,) = (tmp_path / "cache" / "hazgate" / "weights").rglob("*.safetensors")
    assert base.converted == {"pytorch_model.bin": sha256(converted)}
    assert adapter.files == {name: sha256(pair[LEVEL2_ID] / name) for name in READ_OF_ADAPTER}
    assert level1.revision == commit_of(LEVEL1_ID)
    assert adapter.revision == commit_of(LEVEL2_ID)

    # Neither the download nor any library that loads the model asked for another file.
    assert hub.files_asked_for() == {
        *(f"{MMBERT_ID}/{name}" for name in READ_OF_BASE),
        *(f"{repo}/{name}" for repo in (LEVEL1_ID, LEVEL2_ID) for name in READ_OF_ADAPTER),
    }

    # The tables that it prints are a recipe's, and pin what was read; without a Hub, too.
    printed = done.stdout[done.stdout.index("[base.source]") :]
    text = recipe.read_text(encoding="utf-8")
    for place in ("base.source", "levels.level1.adapter", "levels.level2.adapter"):
        text = re.sub(rf"(?m)^{place.split('.')[-1]} = {{ hub.*\n", "", text, count=1)
    recipe.write_text(f"{text}\n{printed}", encoding="utf-8")
    again = _run(None, tmp_path, "-c", _FETCH_LEVELS, str(recipe), str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    assert "is taken from its cache" in again.stderr
    found = json.loads(again.stdout)
    assert found["pins"] == ""
    assert found["read"] == {
        f"{name} {part}": [one.id, one.revision, one.sha256, dict(one.files or {})]
        for name, level in levels.items()
        for part, one in (("base", level.base), ("adapter", level.adapter))
        if one is not None
    }


@pytest.mark.slow
def test_the_production_recipe_builds_as_it_is(hub: StandInHub, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = _run(hub, tmp_path, "-m", "hazgate_export", "build", str(RECIPE), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert Bundle.open(out).manifest.levels["level1"].base.converted


@pytest.fixture
def large(pair: dict[str, Path], tmp_path: Path) -> Iterator[StandInHub]:
    """A Hub with weights of two and a half of the pieces that the client keeps."""
    folder = Path(shutil.copytree(pair[LEVEL1_ID], tmp_path / "large"))
    size = 5 * DOWNLOAD_CHUNK_SIZE // 2
    save_file({"x": np.zeros(size, dtype=np.uint8)}, folder / "adapter_model.safetensors")
    with serve_hub({LEVEL1_ID: folder}) as running:
        yield running


def _starts(hub: StandInHub) -> list[str]:
    """Return the range of each request for weights, in order."""
    return [r.split(" ")[2] for r in hub.requests if r.startswith("GET /storage/")]


def test_a_broken_download_continues_where_it_broke(large: StandInHub, tmp_path: Path) -> None:
    piece = DOWNLOAD_CHUNK_SIZE
    large.cut_after["adapter_model.safetensors"] = [piece + 1000, piece + 1000]
    done = _fetch(large, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the connection broke in adapter_model.safetensors" in done.stderr
    assert _starts(large) == ["", f"bytes={piece}-", f"bytes={2 * piece}-"]


def test_a_download_that_never_ends_is_an_error_and_continues_next_time(
    large: StandInHub, tmp_path: Path
) -> None:
    piece = DOWNLOAD_CHUNK_SIZE
    large.cut_after["adapter_model.safetensors"] = [piece + 1000, *[1000] * 4]
    failed = _fetch(large, tmp_path)
    assert failed.returncode == 1
    assert "run the same command again, which continues the download" in failed.stderr
    assert "Traceback" not in failed.stderr
    large.requests.clear()
    assert _fetch(large, tmp_path).returncode == 0
    assert _starts(large) == [f"bytes={piece}-"]


def test_a_renamed_repository_is_followed_and_named(hub: StandInHub, tmp_path: Path) -> None:
    hub.renamed["vllm-sr/old-name"] = LEVEL1_ID
    done = _fetch(hub, tmp_path, "vllm-sr/old-name")
    assert done.returncode == 0, done.stderr
    assert f"vllm-sr/old-name is now called {LEVEL1_ID}" in done.stderr
    assert done.stdout.startswith(commit_of(LEVEL1_ID))


@pytest.mark.parametrize("kind", ["gated", "private"])
def test_a_gated_or_private_repository_says_how_to_get_in(
    hub: StandInHub, tmp_path: Path, kind: str
) -> None:
    getattr(hub, kind).add(LEVEL1_ID)
    refused = _fetch(hub, tmp_path)
    assert refused.returncode == 1
    expected = "is gated: its owners" if kind == "gated" else "or it is private"
    assert expected in refused.stderr
    assert "No token is set" in refused.stderr
    assert "HF_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr
    wrong = _fetch(hub, tmp_path, HF_TOKEN="hf_other")
    assert "The token in use may not see it" in wrong.stderr
    assert "hf_other" not in wrong.stderr
    assert _fetch(hub, tmp_path, HF_TOKEN=TOKEN).returncode == 0


def test_names_and_revisions_that_are_not_there_are_named(hub: StandInHub, tmp_path: Path) -> None:
    missing = _fetch(hub, tmp_path, "no/such")
    assert "it does not exist under this name" in missing.stderr
    branch = _fetch(hub, tmp_path, revision="no-such-branch")
    assert "has no such revision" in branch.stderr
    commit = _fetch(hub, tmp_path, revision="0123456")
    assert "0 commits start with 0123456" in commit.stderr


def test_no_network_says_what_to_do(tmp_path: Path) -> None:
    done = _run(
        None, tmp_path,
        "-m", "hazgate_export", "build", str(RECIPE), "--out", str(tmp_path / "bundle"),
    )  # fmt: skip
    assert done.returncode == 4
    assert "is not available from the Hub" in done.stderr
    assert "HF_ENDPOINT (a mirror)" in done.stderr
    assert "--base" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()
    offline = _fetch(None, tmp_path, HF_HUB_OFFLINE="1")
    assert "Unset HF_HUB_OFFLINE" in offline.stderr


def test_a_base_of_the_hub_with_an_adapters_configuration_is_refused(
    pair: dict[str, Path], tmp_path: Path
) -> None:
    stray = Path(shutil.copytree(pair[MMBERT_ID], tmp_path / "stray"))
    (stray / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "x/y"}))
    with serve_hub({MMBERT_ID: stray}) as hub:
        done = _fetch(hub, tmp_path, MMBERT_ID)
        assert "adapter_config.json is an adapter's file" in done.stderr
        assert hub.files_asked_for() == set()


def test_local_directories_stand_in_for_the_hub(
    pair: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    few_proof_texts: None,
) -> None:
    monkeypatch.setenv("HAZGATE_CACHE", str(tmp_path / "cache"))
    arguments = [
        *("build", str(_small_recipe(tmp_path)), "--out", str(tmp_path / "bundle")),
        *("--base", str(pair[MMBERT_ID])),
        *("--adapter", f"level1={pair[LEVEL1_ID]}"),
        *("--adapter", f"level2={pair[LEVEL2_ID]}"),
    ]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    level = Bundle.open(tmp_path / "bundle").manifest.levels["level1"]
    assert level.adapter is not None
    assert level.adapter.revision is None
    assert set(level.base.files or ()) == READ_OF_BASE
