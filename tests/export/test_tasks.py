"""Levels that learn together: their rows are read, split and given columns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hazgate_export.errors import DataError
from hazgate_export.finetune.data import Selection, select
from hazgate_export.finetune.rows import TrainingRow, read_rows
from hazgate_export.finetune.tasks import column_gaps, column_labels, split_together
from hazgate_export.finetune_settings import DataRules, TaskSettings
from tests.support.training import KINDS, KINDS_RULES, ROW, RULES, hazards, task

# Reading


def line(**values: object) -> str:
    base = {"text": "t", "group": "g", "source": "s", "license": "l", "lang": "en"}
    return json.dumps(base | {"quality": "gold"} | values)


def read(file: Path, rules: DataRules, *lines: str, **options: Any) -> tuple[TrainingRow, ...]:  # noqa: ANN401 - fields of a row, a task
    file.write_text("\n".join(lines), encoding="utf-8")
    labels = options.pop("labels", KINDS)
    return read_rows([file], rules, labels, **options)


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ({"level1": "unsafe", "level2": "theft"}, ("theft",)),
        ({"level1": "unsafe", "level2": "theft", "level2_all": ["hate", "theft"]}, None),
        ({"level1": "unsafe", "level2": None, "level2_all": ["hate", "violence"]}, None),
        ({"level1": "unsafe", "level2": None, "level2_all": []}, ()),
        ({"level1": "unsafe", "level2": None}, "unlabelled"),
        ({"level1": "safe", "level2": None}, "safe"),
        ({"level1": "safe", "level2": None, "level1_ok": False}, "unlabelled"),
        ({}, "unlabelled"),
    ],
)
@pytest.mark.parametrize("safe_rows_hold_none", [False, True])
def test_level2_all_is_read_with_all_its_hazards_and_safe_rows_have_none_where_the_rules_say_so(
    tmp_path: Path, values: dict[str, Any], held: object, safe_rows_hold_none: bool
) -> None:
    rules = KINDS_RULES.model_copy(update={"safe_rows_hold_none": safe_rows_hold_none})
    (row,) = read(tmp_path / "rows.jsonl", rules, line(**values), several=True)
    if held is None:
        # In the order of the labels, whatever the order in the file.
        held = tuple(label for label in KINDS if label in values["level2_all"])
    if held == "safe":
        held = () if safe_rows_hold_none else None
    assert row.labels("level2_all") == (None if held == "unlabelled" else held)


def test_a_field_of_our_own_is_read_and_those_of_other_levels_are_passed_over(
    tmp_path: Path,
) -> None:
    rules = RULES.model_copy(update={"label_field": "pii"})
    rows = read(
        tmp_path / "rows.jsonl",
        rules,
        line(pii=["email", "name"], injection="none"),
        line(pii=[]),
        line(injection="none"),
        labels=("name", "email"),
        several=True,
        other_fields=("injection", "level1"),
    )
    assert [row.labels("pii") for row in rows] == [("name", "email"), (), None]
    assert [row.label("pii") for row in rows] == ["name+email", "none", None]
    assert select(rows, rules, seed=0).n_dropped["no usable pii"] == 1


@pytest.mark.parametrize(
    ("values", "several", "problem"),
    [
        ({"pii": "email"}, True, "pii: expected a list of name, email"),
        ({"pii": ["e-mail"]}, True, "pii: expected a list of name, email"),
        ({"pii": ["email", "email"]}, True, "pii: expected each label once"),
        ({"pii": ["email"]}, False, "pii: expected one of name, email"),
        ({"pii": "e-mail"}, False, "pii: expected one of name, email"),
        ({"colour": "red"}, True, "colour"),
        ({"injection": "none"}, True, "injection"),
    ],
)
def test_a_label_of_the_wrong_form_and_an_unknown_field_are_refused(
    tmp_path: Path, values: dict[str, Any], several: bool, problem: str
) -> None:
    rules = RULES.model_copy(update={"label_field": "pii"})
    with pytest.raises(DataError, match=f"rows.jsonl:1: {problem}"):
        read(
            tmp_path / "rows.jsonl",
            rules,
            line(**values),
            labels=("name", "email"),
            several=several,
        )


# Splitting


@given(
    items=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from("abc"), st.booleans(), st.booleans()),
        max_size=40,
    ),
    hold_out=st.booleans(),
)
@hypothesis_settings(deadline=None)
def test_a_text_or_group_that_one_level_keeps_from_learning_teaches_no_other(
    items: list[tuple[int, str, bool, bool]], hold_out: bool
) -> None:
    tasks = [
        task(
            name,
            settings=TaskSettings(data=RULES.model_copy(update={"held_out_sources": (source,)})),
        )
        for name, source in (("one", "a"), ("two", "b"))
    ]
    rows = [
        (replace(ROW, text=f"text {i}", group=str(group), source=source), takes)
        for i, (group, source, *takes) in enumerate(items)
    ]
    selections = [
        Selection(rows=tuple(row for row, takes in rows if takes[i]), n_dropped={}) for i in (0, 1)
    ]

    parts = split_together(tasks, selections, seed=3, hold_out=hold_out)

    learned = {row.group for part in parts for row in part.train}
    apart = {row.group for part in parts for row in (*part.validation, *part.held_out)}
    assert not learned & apart
    if hold_out:
        # A level measures the other's held-out source only where it keeps the row itself.
        assert all(
            row.source != tasks[i].settings.data.held_out_sources[0]
            for i, part in enumerate(parts)
            for row in part.train
        )


def test_the_same_words_in_other_case_do_not_pass_from_held_out_to_learned() -> None:
    rules = RULES.model_copy(update={"held_out_sources": ("far",)})
    far = replace(ROW, text="The Same Words!", group="one", source="far")
    near = replace(ROW, text="the same words", group="two", source="near")
    tasks = [task("one", settings=TaskSettings(data=rules)), task("two")]
    selections = [Selection(rows=(row,), n_dropped={}) for row in (far, near)]

    parts = split_together(tasks, selections, seed=0, hold_out=True)

    assert parts[0].held_out == (far,)
    assert parts[1].train == ()


# Columns


def test_columns_without_gaps_name_all_labels_in_their_order() -> None:
    assert column_labels([hazards(), task()]) == ("safe", "unsafe", *KINDS)
    assert column_gaps([(2, 5), (0, 2)]) == []


def test_columns_that_no_level_owns_are_named() -> None:
    assert column_gaps([(3, 6), (0, 2)]) == [(2, 3)]
    assert column_gaps([(4, 6), (1, 3)]) == [(0, 1), (3, 4)]
