"""The bundled token level on its real base: spans of sentences, and a text that goes out masked."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hazgate import EngineOptions, Gate, Policy, TokenClassifier
from hazgate.serving.settings import ServeSettings
from hazgate_export.build import build
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from tests.support.few_texts import few_proof_texts_used
from tests.support.served import LITELLM, served
from tests.support.training import PANEL

POLICY = Path(__file__).parents[2] / "runtime" / "deploy" / "mask-personal-data.toml"
LEVEL = "pii_spans"
ENGINE = EngineOptions(variant="fp32", threads=1)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of panel's recipe in fp32 alone, proven on few texts."""
    loaded = load_recipe(PANEL)
    fp32 = {"fp32": loaded.recipe.variants["fp32"]}
    recipe = loaded.recipe.model_copy(update={"variants": fp32})
    root = tmp_path_factory.mktemp("panel") / "bundle"
    with few_proof_texts_used():
        build(loaded.model_copy(update={"recipe": recipe}), root, LocalSources())
    return root


@pytest.fixture(scope="module")
def level(panel: Path) -> TokenClassifier:
    return TokenClassifier.open(panel, LEVEL, engine=ENGINE)


def found(level: TokenClassifier, text: str) -> dict[str, str]:
    return {text[span.start : span.end]: span.label for span in level.find(text).spans}


def test_an_address_of_mail_and_a_number_are_found_in_a_sentence(level: TokenClassifier) -> None:
    text = "Please write to ada.lovelace@example.org or call me on +1 202 555 0143 tonight."
    assert found(level, text) == {
        "ada.lovelace@example.org": "email",
        "+1 202 555 0143": "phone",
    }


@pytest.mark.parametrize("before", ["🎉🎉 ", "Hello,\r\n\r\n", "😀\r\n", "é — "])
def test_characters_before_a_span_move_it_by_their_code_points(
    level: TokenClassifier, before: str
) -> None:
    text = f"{before}please write to ada.lovelace@example.org soon"
    assert found(level, text) == {"ada.lovelace@example.org": "email"}


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "Marie Curie received two Nobel Prizes. Explain what for.",
        "Upgrade to version 2.14.3 before 2026-05-01.",
        "def add(a, b):\n    return a + b",
    ],
)
def test_nothing_is_found_in_a_text_without_personal_data(
    level: TokenClassifier, text: str
) -> None:
    assert found(level, text) == {}


def test_a_long_text_has_its_spans_where_they_stand(level: TokenClassifier) -> None:
    text = "The meeting was long and nobody said much about it. " * 60
    text += "Write to ada.lovelace@example.org. " + text
    assert "ada.lovelace@example.org" in found(level, text)


def test_the_policy_of_the_deployment_masks_what_goes_through_a_gateway(panel: Path) -> None:
    gate = Gate.open(panel, engine=ENGINE, policy=Policy.load(POLICY))
    text = "Translate to French: please send the invoice to ada.lovelace@example.org by Friday."
    with served(gate, ServeSettings(litellm_masks_responses=True)) as client:
        assert isinstance(client, TestClient)
        answer = client.post(LITELLM, json={"texts": [text], "input_type": "request"}).json()
    assert answer["texts"] == [text.replace("ada.lovelace@example.org", "[email]")]
