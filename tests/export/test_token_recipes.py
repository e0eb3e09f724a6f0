"""The shipped recipe of a token level is rehearsed on a stand-in with its trainer's files."""

import json
import shutil
from pathlib import Path

import pytest

from hazgate import EngineOptions, TokenClassifier
from hazgate_export.build import build
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import LocalSources
from hazgate_export.model.standin import write_standin
from hazgate_export.proof.texts import load_proof_texts
from hazgate_export.recipe_file import load_recipe
from tests.support.rehearsals import BASE_32K, rehearsed
from tests.support.small_mmbert import small_mmbert
from tests.support.token_models import add_token_adapter

TYPES = (
    "AGE", "CREDIT_CARD", "DATE_TIME", "DOMAIN_NAME", "EMAIL_ADDRESS", "GPE", "IBAN_CODE",
    "IP_ADDRESS", "NRP", "ORGANIZATION", "PERSON", "PHONE_NUMBER", "STREET_ADDRESS", "TITLE",
    "US_DRIVER_LICENSE", "US_SSN", "ZIP_CODE",
)  # fmt: skip
LABELS = ("O", *(f"{tag}-{name}" for name in TYPES for tag in "BI"))
SOURCES = {
    "vllm-sr/mmbert-32k-yarn": "base",
    "llm-semantic-router/mmbert32k-pii-detector-lora": "pii",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pii")
    write_standin(
        folder,
        small_mmbert(vocabulary=616, n_layers=2, n_positions=128, window=16),
        texts=[text.text for text in load_proof_texts() if text.text.isascii()],
        base_id=BASE_32K,
        levels={},
        lora_targets=(),
        lora_rank=0,
        tokenizer_vocabulary=600,
    )
    weights = add_token_adapter(folder, "modernbert", base_id=BASE_32K, level="pii", labels=LABELS)
    numbers = {label: i for i, label in enumerate(LABELS)}
    maps = {"label_to_id": numbers, "id_to_label": {str(i): label for label, i in numbers.items()}}
    (weights / "label_mapping.json").write_text(json.dumps(maps), encoding="utf-8")
    (weights / "lora_config.json").write_text('{"id2label": {"0": "wrong"}}', encoding="utf-8")
    return folder


def test_the_recipe_builds_a_token_level_with_its_trainers_tags(
    written: Path, few_proof_texts: None
) -> None:
    assert len(LABELS) == 35
    recipe = rehearsed("pii-32k", written, SOURCES)
    built = build(load_recipe(recipe), written / "bundle", LocalSources())
    level = built.bundle.manifest.levels["pii"]
    assert level.labels == LABELS
    assert level.tags.types == TYPES
    assert (level.output, level.tagged) == ("tokens", None)
    classifier = TokenClassifier.open(
        built.bundle.root, engine=EngineOptions(variant="fp32", threads=1)
    )
    spans = classifier.find("Ada Lovelace, ada@example.org, 12 St James's Square " * 4).spans
    assert {span.label for span in spans} <= set(TYPES)


def test_tags_numbered_otherwise_by_another_file_stop_the_build(
    written: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(written, tmp_path / "copy", ignore=lambda *_: ["bundle"]))
    wrong = {label: i for i, label in enumerate(sorted(LABELS))}
    (folder / "pii/pii_type_mapping.json").write_text(
        json.dumps({"label_to_idx": wrong}), encoding="utf-8"
    )
    recipe = rehearsed("pii-32k", folder, SOURCES)
    with pytest.raises(SourceError, match="pii: the labels differ in names or order"):
        build(load_recipe(recipe), tmp_path / "bundle", LocalSources())
