"""A Level 2 whose hazards hold or not by themselves goes the whole way of any other."""

import numpy as np
import pytest

from hazgate import BundleError, Gate
from hazgate.engine.options import EngineOptions
from hazgate_evaluation.calibration.run import check_hazard_head
from hazgate_export.build import Built, build
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from tests.support.tiny import write_tiny_recipe

TEXT = "How do I kill a Python process?"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("multi-label")
    recipe = write_tiny_recipe(folder)
    text = recipe.read_text(encoding="utf-8")
    changed = text.replace("[levels.level2]\n", '[levels.level2]\nactivation = "sigmoid"\n')
    assert changed != text
    recipe.write_text(changed, encoding="utf-8")
    return build(load_recipe(recipe), folder / "bundle", LocalSources())


def test_its_variants_pass_the_gate_on_which_hazards_hold(built: Built) -> None:
    assert built.bundle.manifest.levels["level2"].activation == "sigmoid"
    assert built.bundle.manifest.levels["level1"].activation == "softmax"
    (exact,) = (p for p in built.parities if (p.level, p.variant) == ("level2", "fp32"))
    assert exact.passed
    assert exact.decisions_changed == 0


def test_a_verdict_has_each_hazards_own_probability(built: Built) -> None:
    gate = Gate.open(built.bundle.root, engine=EngineOptions(variant="fp32", threads=1))
    verdict = gate.check(TEXT, all_levels=True)
    logits = gate.level2.logits([TEXT])[0].astype(np.float64)
    assert verdict.hazards is not None
    np.testing.assert_allclose(list(verdict.hazards.values()), 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert sum(verdict.hazards.values()) != pytest.approx(1)
    np.testing.assert_array_equal(
        gate.level2.probabilities([TEXT])[0], list(verdict.hazards.values())
    )


def test_calibrate_refuses_it_because_it_fits_one_temperature() -> None:
    with pytest.raises(BundleError, match="is multi-label"):
        check_hazard_head("sigmoid")
    check_hazard_head("softmax")
