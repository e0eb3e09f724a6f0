"""Bundles of one level: built, proven, verified again, opened and described as any other."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hazgate import BundleError, Classifier, Gate, Reading
from hazgate.cli.group import cli as runtime_cli
from hazgate.engine.options import EngineOptions
from hazgate_export.__main__ import cli
from hazgate_export.build import Built, build
from hazgate_export.model.sources import LocalSources
from hazgate_export.proof.subject import boundary_of
from hazgate_export.recipe_file import load_recipe
from tests.support.recipes import without_cascade
from tests.support.tiny import HAZARDS, write_tiny_recipe

FP32 = EngineOptions(variant="fp32", threads=1)
TEXTS = ["hello", "How do I kill a Python process?", "x " * 100]


def _recipe(folder: Path, *, dropped: str, changes: dict[str, str]) -> Path:
    """Write the tiny recipe without a cascade and without the level `dropped`."""
    recipe = write_tiny_recipe(folder)
    text = without_cascade(recipe.read_text(encoding="utf-8"), dropped=dropped)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text, encoding="utf-8")
    return recipe


@pytest.fixture(scope="module")
def jailbreak(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("jailbreak")
    positive = 'positive = { label = "unsafe", threshold = 0.4, threshold_source = "trained" }'
    recipe = _recipe(
        folder,
        dropped="level2",
        changes={"[levels.level1]\n": f"[levels.jailbreak]\n{positive}\n"},
    )
    return build(load_recipe(recipe), folder / "bundle", LocalSources())


@pytest.fixture(scope="module")
def hazards(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("hazards")
    thresholds = f'activation = "sigmoid"\nthresholds = {{ {HAZARDS[0]} = 0.9 }}'
    recipe = _recipe(
        folder, dropped="level1", changes={"[levels.level2]\n": f"[levels.level2]\n{thresholds}\n"}
    )
    return build(load_recipe(recipe), folder / "bundle", LocalSources())


def test_a_lone_level_is_proven_at_its_own_threshold(jailbreak: Built) -> None:
    manifest = jailbreak.bundle.manifest
    assert manifest.cascade is None
    assert b'"cascade"' not in (jailbreak.bundle.root / "bundle.json").read_bytes()
    boundary = boundary_of(manifest, "jailbreak")
    assert (boundary.positive, boundary.threshold) == (1, 0.4)
    logits = np.array([[0.0, -0.3], [0.0, -0.5]], dtype=np.float32)
    # P(unsafe) is 0.426 and 0.378.
    assert boundary.decide(logits).tolist() == [1, 0]
    assert {p.variant for p in jailbreak.parities if p.passed} == {"fp32", "int8"}


def test_a_lone_multi_label_level_is_proven_at_each_labels_threshold(hazards: Built) -> None:
    boundary = boundary_of(hazards.bundle.manifest, "level2")
    assert boundary.positive is None
    logits = np.full((2, len(HAZARDS)), -9.0, dtype=np.float32)
    # P is 0.881 and 0.917 around the first label's 0.9, and 0.5 is the others'.
    logits[:, 0], logits[0, 1] = (2.0, 2.4), 0.0
    assert boundary.decide(logits).tolist() == [0b10, 0b1]
    np.testing.assert_allclose(boundary.margin(logits), [0.0, 0.0168], atol=1e-4)


def test_it_answers_as_its_labels_and_as_a_gate(jailbreak: Built) -> None:
    # A classifier reads texts as they are written; a gate reads disguised ones twice.
    level = Classifier.open(jailbreak.bundle.root, engine=FP32, reading=Reading(views=()))
    gate = Gate.of_level(level)
    for answer, verdict in zip(level.classify(TEXTS), gate.check_many(TEXTS), strict=True):
        assert verdict.scores == answer.scores
        assert verdict.flagged == (answer.labels == ("unsafe",)) == (verdict.unsafe >= 0.4)
    with pytest.raises(BundleError, match="needs a cascade of two levels"):
        Gate.open(jailbreak.bundle.root)


def test_verify_info_doctor_and_the_readme_take_it(jailbreak: Built, hazards: Built) -> None:
    for built, said in (
        (jailbreak, "jailbreak flags at P(unsafe) >= 0.4"),
        (hazards, f"each of level2 holds by itself, from {HAZARDS[0]} 0.9, {HAZARDS[1]} 0.5"),
    ):
        root = str(built.bundle.root)
        verified = CliRunner().invoke(cli, ["verify", root])
        assert verified.exit_code == 0, verified.output
        assert verified.output.count("passed") == 2
        info = CliRunner().invoke(runtime_cli, ["info", root], env={"COLUMNS": "400"})
        assert info.exit_code == 0, info.output
        assert said in info.output
        for command in ("verify-files", "doctor"):
            done = CliRunner().invoke(runtime_cli, [command, root])
            assert done.exit_code == 0, done.output
        readme = (built.bundle.root / "README.md").read_text(encoding="utf-8")
        assert "Classifier.open(" in readme
        assert "Gate" not in readme
    info = CliRunner().invoke(runtime_cli, ["info", str(hazards.bundle.root)])
    assert "level2 flags nothing" in info.output
