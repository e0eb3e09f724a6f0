"""The page's figures are measured on texts that no adapter was trained on."""

import json
from pathlib import Path

import pytest

from benchmarks.quality import thresholds
from benchmarks.quality.thresholds import divide, unseen_rows
from hazgate_export.finetune.data import select, split
from hazgate_export.finetune.rows import read_rows
from hazgate_export.recipe_file import load_recipe
from tests.support.labelled import write_rows

ROOT = Path(__file__).parents[2]


def _rows(n_rows: int, **fields: object) -> list[dict[str, object]]:
    return [
        {
            "text": f"{fields.get('lang', 'en')} text {i}",
            "level1": "unsafe" if i % 3 else "safe",
            "level2": None,
            "level1_ok": True,
            "lang": "en",
            "source": "toy",
            "license": "none",
            "quality": "gold",
            "group": f"group {i // 2}",
            **fields,
        }
        for i in range(n_rows)
    ]


def test_unseen_rows_are_english_and_untrained(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "rows.jsonl", [*_rows(2000), *_rows(50, lang="de")])
    found = unseen_rows(data)
    recipe = load_recipe(ROOT / "export" / "recipes" / "mini.toml").recipe
    settings = recipe.levels["level1"].finetune
    assert settings is not None
    rows = read_rows([data], settings.data, recipe.levels["level1"].labels)
    chosen = select(rows, settings.data, seed=settings.seed).rows
    trained = split(chosen, settings.data, seed=settings.seed, hold_out=False).train
    assert found
    assert {row["lang"] for row in found} == {"en"}
    assert not {row["group"] for row in found} & {row.group for row in trained}
    assert not {row["text"] for row in found} & {row.text for row in trained}


def test_the_two_parts_share_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "_FOLDER", tmp_path / "parts")
    rows = _rows(100)
    parts = [
        [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in divide(rows)
    ]
    groups = [{row["group"] for row in part} for part in parts]
    assert not groups[0] & groups[1]
    assert {row["text"] for part in parts for row in part} == {row["text"] for row in rows}
