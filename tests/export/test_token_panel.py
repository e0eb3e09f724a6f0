"""A cascade and a token level on one base are built as one bundle, whose gate answers both."""

import pytest

from hazgate import EngineOptions, Gate, TokenClassifier
from hazgate_export.build import Built, build
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from hazgate_export.verify_bundle import verify_bundle
from tests.support.few_texts import use_few_proof_texts
from tests.support.tiny import BASE_ID, write_tiny_recipe
from tests.support.token_models import LABELS, LEVEL, add_token_adapter

TEXT = "My name is Ada Lovelace."


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("panel")
    recipe = write_tiny_recipe(folder)
    add_token_adapter(folder, "bert", base_id=BASE_ID)
    level = f"""[levels.{LEVEL}]
adapter_id = "{BASE_ID}-{LEVEL}"
adapter = {{ directory = "{LEVEL}" }}
output = "tokens"

[cascade]
"""
    text = recipe.read_text(encoding="utf-8").replace("[cascade]\n", level)
    recipe.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        use_few_proof_texts(patch)
        return build(load_recipe(recipe), folder / "bundle", LocalSources())


def test_each_level_has_the_parity_of_its_kind(built: Built) -> None:
    assert all(parity.passed for parity in built.parities)
    tagged = {parity.level for parity in built.parities if parity.n_tags is not None}
    assert tagged == {LEVEL}
    manifest = built.bundle.manifest
    assert manifest.schema_version == 3
    assert manifest.bodies() == (("level1",), ("level2",), (LEVEL,))
    assert manifest.levels[LEVEL].labels == LABELS
    # Levels on one base have one tokenizer, and what their graphs have in common stands once.
    assert len({level.tokenizer.file for level in manifest.levels.values()}) == 1


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_the_gate_gives_the_spans_of_the_level_alone(built: Built, variant: str) -> None:
    engine = EngineOptions(threads=1, variant=variant)
    verdict = Gate.open(built.bundle.root, engine=engine).check(TEXT, levels=[LEVEL])
    alone = TokenClassifier.open(built.bundle.root, LEVEL, engine=engine).find(TEXT)
    assert verdict.levels[LEVEL].spans == alone.spans
    assert alone.spans


def test_verify_measures_levels_of_both_kinds(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hazgate_export.proof.texts import load_proof_texts
    from tests.support.few_texts import _STRIDE

    texts = load_proof_texts()[::_STRIDE]
    monkeypatch.setattr("hazgate_export.verify_bundle.load_proof_texts", lambda: texts)
    assert verify_bundle(built.bundle, None, LocalSources()) == built.parities
