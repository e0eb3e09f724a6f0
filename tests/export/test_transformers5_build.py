"""A whole build of a checkpoint that transformers 5 saved gives the logits of transformers 5."""

import json
from pathlib import Path

import numpy as np
import pytest

from hazgate import Classifier
from hazgate.engine.kernels import instruction_set
from hazgate.engine.options import EngineOptions
from hazgate_export.build import Built, build
from hazgate_export.model import layer_fields
from hazgate_export.model.architecture import Yarn
from hazgate_export.model.fields import Fields
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from tests.export.test_transformers5 import ask_transformers_5, run

MOST = 1e-4
_RECIPE = """schema_version = 1
name = "saved-by-5"
description = "Random weights for tests; its answers mean nothing."
opset = 18
default_variant = "fp32"

[base]
id = "test/saved-by-5"
family = "modernbert"
pooling = "mean"

[tokenizer]
max_tokens = 90
overlap_tokens = 8
special_tokens_in_text = "text"

[levels.jailbreak]
checkpoint_id = "test/saved-by-5"
checkpoint = { directory = "checkpoint" }
positive = { label = "unsafe", threshold = 0.5, threshold_source = "default" }

[variants.fp32]
graph = "authored"
precision = "fp32"
parity = { max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }

[variants.portable]
graph = "portable"
precision = "fp32"
parity = { max_abs_logit_diff = 1e-4, max_changed_share = 0.0, max_invariance_diff = 1e-4 }

[variants.int8-fused]
graph = "fused"
precision = "int8"
int8_scheme = "per_token"

[variants.int8-fused.parity]
max_abs_logit_diff = 0.15
max_changed_share = 0.003
decision_margin = 0.05
max_invariance_diff = 1e-6

[parity]
lengths = [1, 2, 7, 15, 16, 17, 33, 64]
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved-by-5")
    ask_transformers_5("whole", folder)
    (folder / "recipe.toml").write_text(_RECIPE, encoding="utf-8")
    return folder


def _distances(built: Built, saved: Path) -> dict[str, float]:
    """Return the greatest distance from transformers 5's logits, by variant."""
    golden = json.loads((saved / "golden.json").read_text("utf-8"))
    assert golden["transformers"].startswith("5.")
    wanted = np.array(golden["logits"], dtype=np.float32)
    variants = built.bundle.manifest.levels["jailbreak"].variants
    return {
        name: float(np.abs(run(built.bundle.root / spec.graph, spec.kind) - wanted).max())
        for name, spec in variants.items()
    }


@pytest.mark.slow
def test_the_bundle_answers_as_transformers_5(saved: Path, tmp_path: Path) -> None:
    files = {path.name for path in (saved / "checkpoint").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files
    config = json.loads((saved / "checkpoint/config.json").read_text("utf-8"))
    assert "rope_parameters" in config
    assert "global_rope_theta" not in config
    built = build(load_recipe(saved / "recipe.toml"), tmp_path / "bundle", LocalSources())
    found = _distances(built, saved)
    assert found["fp32"] <= MOST
    assert found["portable"] <= MOST
    if instruction_set() is not None:
        assert MOST < found["int8-fused"] <= 0.15
    level = built.bundle.manifest.levels["jailbreak"]
    assert level.labels == ("safe", "unsafe")
    assert set(level.base.files or ()) >= {"config.json", "model.safetensors", "tokenizer.json"}
    engine = EngineOptions(variant="fp32", threads=1)
    (answer,) = Classifier.open(built.bundle.root, engine=engine).classify(["How do plants grow?"])
    assert set(answer.scores) == {"safe", "unsafe"}


@pytest.mark.slow
def test_a_reader_that_loses_yarn_is_green_in_the_build_and_red_here(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reference and graphs share what is read, so that no gate of the build can see it."""
    read = layer_fields._read_yarn

    def lose(table: Fields, positions: int) -> Yarn | None:
        read(table, positions)
        return None

    monkeypatch.setattr(layer_fields, "_read_yarn", lose)
    built = build(load_recipe(saved / "recipe.toml"), tmp_path / "bundle", LocalSources())
    assert all(parity.passed for parity in built.parities)
    found = _distances(built, saved)
    assert found["fp32"] > 100 * MOST
    assert found["portable"] > 100 * MOST
