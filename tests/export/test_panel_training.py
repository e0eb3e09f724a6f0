"""The bundled example of levels trained together: its recipe and its own rows."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from hazgate_export.proof.agreement import levels_of_texts
from hazgate_export.recipe_file import load_recipe
from tests.support.training import PANEL

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "export" / "training"


def test_the_recipe_of_panel_gives_every_level_its_columns() -> None:
    recipe = load_recipe(PANEL).recipe
    levels = {name: recipe.levels[name] for name in levels_of_texts(recipe)}
    assert {name: level.columns for name, level in levels.items()} == {
        "level1": (0, 2),
        "level2": (2, 11),
        "injection": (11, 13),
        "pii": (13, 19),
    }
    assert {level.adapter_id for level in levels.values()} == {"hazgate/panel"}


def test_the_token_level_of_panel_has_a_body_of_its_own_and_the_labels_of_its_rows() -> None:
    recipe = load_recipe(PANEL).recipe
    assert recipe.bodies() == (("level1", "level2", "injection", "pii"), ("pii_spans",))
    level = recipe.levels["pii_spans"]
    types = {label[2:] for label in level.labels if label != "O"}
    assert types == {
        span["label"] for row in own_rows("personal_spans.jsonl") for span in row["spans"]
    }


def test_labelled_texts_of_panel_are_judged_at_its_levels_of_texts_and_it_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "pii_spans" not in levels_of_texts(load_recipe(PANEL).recipe)
    assert "pii_spans: --data is for labels of texts" in capsys.readouterr().err


OWN = {
    "make_personal_data.py": "personal_data.jsonl",
    "make_personal_spans.py": "personal_spans.jsonl",
    "make_injections.py": "injections.jsonl",
}


@pytest.mark.parametrize("script", OWN)
def test_a_generator_writes_the_committed_rows_again(script: str) -> None:
    made = subprocess.run(
        [sys.executable, TRAINING / script], capture_output=True, check=True, timeout=60
    ).stdout
    assert made == (TRAINING / OWN[script]).read_bytes()
    assert len(made) < 1_000_000


def own_rows(file: str) -> list[dict[str, Any]]:
    lines = (TRAINING / file).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("file", OWN.values())
def test_unseen_templates_share_no_group_and_no_text_with_learned_ones(file: str) -> None:
    rows = own_rows(file)
    seen = [row for row in rows if "source" not in row]
    unseen = [row for row in rows if "source" in row]
    assert seen
    assert unseen
    assert not {row["group"] for row in seen} & {row["group"] for row in unseen}
    assert not {row["text"] for row in seen} & {row["text"] for row in unseen}


def test_families_of_injections_are_held_out_as_wholes() -> None:
    families = defaultdict(set)
    sentences = set()
    for row in own_rows("injections.jsonl"):
        if row["group"].startswith("injection-"):
            families[row["group"].rpartition("-")[0]].add(row.get("source"))
            sentences.add(row["group"])
    assert all(len(sources) == 1 for sources in families.values())
    assert sum(sources != {None} for sources in families.values()) == 9
    assert len(sentences) >= 600


def test_every_kind_of_personal_data_has_at_least_40_templates_of_which_some_are_unseen() -> None:
    templates = defaultdict(set)
    for row in own_rows("personal_data.jsonl"):
        for kind in row["pii"]:
            templates[kind, "source" in row].add(row["group"])
    kinds = load_recipe(PANEL).recipe.levels["pii"].labels
    for kind in kinds:
        assert len(templates[kind, False]) + len(templates[kind, True]) >= 40
        assert len(templates[kind, True]) >= 8
    assert {kind for kind, _ in templates} == set(kinds)
