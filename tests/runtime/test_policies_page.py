"""POLICIES.md shows the behaviour of the code."""

import re
from pathlib import Path

import pytest

from hazgate.judging.decision import LevelRule
from hazgate.judging.policy import Policy
from hazgate.judging.policy_checks import MAX_TEMPERATURE, MIN_TEMPERATURE, SCHEMA_VERSION
from tests.support.panel_heads import PANEL
from tests.support.taxonomy_table import PAGE, with_table
from tests.support.tiny import HAZARDS

TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_page_has_an_example() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_a_policy_for_the_nine_hazards_and_the_panel(example: str) -> None:
    policy = Policy.parse(example.encode())
    policy.check_labels(HAZARDS)
    policy.check_levels(PANEL)


def test_an_example_has_rules_for_levels_beside_the_cascade() -> None:
    (policy,) = (
        policy
        for policy in (Policy.parse(example.encode()) for example in EXAMPLES)
        if policy.level_names
    )
    assert policy.level_names == ("injection", "pii")
    assert policy.rules("clinic", "tool").levels == {
        "injection": LevelRule(action="block", threshold=0.5),
        "pii": LevelRule(action="allow", labels=("id_number", "payment")),
    }


def test_the_python_example_runs_on_the_first_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "policy.toml").write_text(EXAMPLES[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(code, {})


def test_the_page_states_the_bounds_that_the_parser_has() -> None:
    assert f"schema version {SCHEMA_VERSION}" in TEXT
    assert f"number, {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}" in TEXT


def test_the_table_of_taxonomies_is_made_from_the_data_files() -> None:
    assert with_table(TEXT) == TEXT, "run: python -m tests.support.taxonomy_table"
