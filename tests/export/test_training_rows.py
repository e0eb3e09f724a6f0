"""Training rows are read, chosen, split, weighed and measured by the rules."""

import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hazgate_export.errors import DataError
from hazgate_export.finetune.data import (
    add_noise,
    loss_weights,
    plan_epoch,
    select,
    split,
)
from hazgate_export.finetune.evaluate import lowest_threshold, measure
from hazgate_export.finetune.rows import read_rows
from hazgate_export.finetune_settings import Candidate, FileDefaults, StyleNoise
from tests.support.training import LABELS, ROW, RULES, line

LEVEL2 = ("S1_violent_crimes", "S2_nonviolent_crimes")


# Reading


def test_all_malformed_rows_are_reported_at_once_with_line_numbers(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(
        "\n".join(
            [
                line(),
                line(colour="red"),
                "",
                line(level1="dubious"),
                line(level2="S99_unheard_of"),
                "{ not json",
                line(text=None),
            ]
        ),
        encoding="utf-8",
    )

    with pytest.raises(DataError) as raised:
        read_rows([file], RULES.model_copy(update={"label_field": "level2"}), LEVEL2)

    message = str(raised.value)
    assert message.startswith("5 malformed row(s)")
    assert "rows.jsonl:2: colour" in message
    assert "rows.jsonl:4: level1" in message
    assert "rows.jsonl:5: level2: expected one of S1_violent_crimes" in message
    assert "rows.jsonl:6: not JSON" in message
    assert "rows.jsonl:7: text" in message


def test_a_malformed_row_is_reported_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(line(text=["private words"], level1="private words"), encoding="utf-8")

    with pytest.raises(DataError) as raised:
        read_rows([file], RULES, LABELS)

    assert "private words" not in str(raised.value)


def test_a_file_may_say_once_where_its_rows_come_from(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    short = {"text": "t", "level1": "safe", "level2": None, "level1_ok": True, "group": "g"}
    file.write_text(json.dumps(short | {"topic": "tools"}), encoding="utf-8")
    defaults = FileDefaults(source="own", license="Apache-2.0", lang="en", quality="gold")

    (row,) = read_rows(
        [file], RULES.model_copy(update={"file_defaults": {"own.jsonl": defaults}}), LABELS
    )

    assert (row.source, row.license, row.quality) == ("own", "Apache-2.0", "gold")
    with pytest.raises(DataError, match="file_defaults"):
        read_rows([file], RULES, LABELS)


def test_a_row_with_several_hazards_has_no_single_one(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(line(level2=LEVEL2[0], level2_all=list(LEVEL2)), encoding="utf-8")

    (row,) = read_rows([file], RULES, LABELS)

    assert row.level2 is None


# Choosing


def test_rows_not_fit_for_level1_are_left_out_of_level1_only() -> None:
    rows = [
        replace(ROW, text="one", level2=LEVEL2[0], level1_ok=False),
        replace(ROW, text="two", level2=LEVEL2[0]),
    ]

    level1 = select(rows, RULES, seed=0)
    level2 = select(rows, RULES.model_copy(update={"label_field": "level2"}), seed=0)

    assert [row.text for row in level1.rows] == ["two"]
    assert level1.n_dropped["no usable level1"] == 1
    assert len(level2.rows) == 2


def test_caps_are_honoured() -> None:
    rows = [
        replace(ROW, text=f"text {source} {label} {i}", source=source, level1=label)
        for source in ("ours", "theirs")
        for label in LABELS
        for i in range(10)
    ]
    rules = RULES.model_copy(update={"source_caps": {"ours": 3}, "label_caps": {"unsafe": 7}})

    chosen = select(rows, rules, seed=0).rows

    counts = Counter((row.source, row.level1) for row in chosen)
    assert counts["ours", "safe"] == 3
    assert counts["theirs", "safe"] == 10
    assert counts["ours", "unsafe"] + counts["theirs", "unsafe"] == 7


def test_the_draw_does_not_depend_on_the_order_of_rows() -> None:
    rows = [replace(ROW, text=f"text {i}") for i in range(50)]
    rules = RULES.model_copy(update={"source_caps": {"ours": 10}})

    assert select(rows, rules, seed=1) == select(rows[::-1], rules, seed=1)
    assert select(rows, rules, seed=1) != select(rows, rules, seed=2)


def test_a_text_is_used_once_whatever_its_case_and_punctuation() -> None:
    rows = [replace(ROW, text=text) for text in ("Is it so?", "is it so", "IS IT, SO!")]

    assert len(select(rows, RULES, seed=0).rows) == 1


@given(
    items=st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["a", "b", "c"]), st.sampled_from(LABELS)),
        max_size=60,
    ),
    seed=st.integers(0, 5),
    held_out_share=st.sampled_from([0.0, 0.5]),
    hold_out=st.booleans(),
)
@hypothesis_settings(deadline=None)
def test_no_group_is_on_two_sides(
    items: list[tuple[int, str, str]], seed: int, held_out_share: float, hold_out: bool
) -> None:
    rows = [
        replace(ROW, text=f"text {i}", group=str(group), source=source, level1=label)
        for i, (group, source, label) in enumerate(items)
    ]
    rules = RULES.model_copy(
        update={"held_out_sources": ("b",), "held_out_group_shares": {"c": held_out_share}}
    )

    parts = split(rows, rules, seed=seed, hold_out=hold_out)

    sides = [
        {row.group for row in part} for part in (parts.train, parts.validation, parts.held_out)
    ]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    if hold_out:
        assert all(row.source != "b" for row in (*parts.train, *parts.validation))
    else:
        assert len(parts.train) + len(parts.validation) == len(rows)


# Learning


def test_loss_weights_balance_classes_and_have_mean_one() -> None:
    rows = [ROW] * 9 + [replace(ROW, level1="unsafe")]

    full = loss_weights(rows, RULES, Candidate(epochs=1, class_balance="full"))

    assert sum(full) == pytest.approx(10)
    assert sum(full[:9]) == pytest.approx(full[9])


@pytest.mark.parametrize("class_balance", ["none", "full"])
def test_source_balance_shares_a_class_among_its_sources_and_leaves_the_class_its_weight(
    class_balance: Literal["none", "full"],
) -> None:
    many, few = [replace(ROW, source="many")] * 8, [replace(ROW, source="few")] * 2
    other = [replace(ROW, level1="unsafe")] * 3
    alike = Candidate(epochs=1, class_balance=class_balance)
    shared = alike.model_copy(update={"source_balance": "full"})

    weights = loss_weights([*many, *few, *other], RULES, shared)

    assert sum(weights[:8]) == pytest.approx(sum(weights[8:10]))
    unshared = loss_weights([*many, *few, *other], RULES, alike)
    assert sum(weights[:10]) == pytest.approx(sum(unshared[:10]))


def test_a_row_counts_by_its_quality_and_its_source() -> None:
    rules = RULES.model_copy(
        update={"quality_weights": {"weak": 0.5}, "source_weights": {"ours": 3.0}}
    )
    rows = [replace(ROW, source="theirs"), replace(ROW, quality="weak")]

    theirs, ours_weak = loss_weights(rows, rules, Candidate(epochs=1, class_balance="none"))

    assert ours_weak / theirs == pytest.approx(1.5)


@given(
    lengths=st.lists(st.integers(1, 128), max_size=300),
    batch_size=st.integers(1, 16),
    seed=st.integers(0, 3),
)
@hypothesis_settings(deadline=None)
def test_an_epoch_takes_each_row_once(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = plan_epoch(lengths, batch_size, random.Random(seed))

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    # Steps are counted before an epoch is planned.
    assert len(batches) == math.ceil(len(lengths) / batch_size)
    assert all(len(batch) <= batch_size for batch in batches)


def test_noise_keeps_the_words() -> None:
    noise = StyleNoise(
        drop_end_share=0.5, swap_end_share=0.4, prefix_share=0.5, prefixes=("please",)
    )

    changed = {add_noise("Name a river.", noise, random.Random(i)) for i in range(50)}

    assert len(changed) > 3
    assert all("Name a river" in text for text in changed)


def test_lowest_threshold_keeps_within_the_false_positives() -> None:
    scores = np.linspace(0, 1, 101, dtype=np.float32)[:-1]

    threshold = lowest_threshold(scores, 0.1)

    assert (scores >= threshold).mean() <= 0.1
    assert (scores >= threshold - 0.02).mean() > 0.1


def test_figures_tell_recall_from_false_positives() -> None:
    rows = [replace(ROW, level1=label) for label in ("safe", "safe", "unsafe", "unsafe")]
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32)

    figures = measure(
        rows, np.array([0, 0, 1, 1]), scores, LABELS, positive=1, max_false_positive_rate=0.0
    )

    half = next(row for row in figures.thresholds if row.threshold == 0.5)
    assert half.recall == 0.5
    assert half.false_positive_rate == 0.5
    assert figures.proposed is not None
    assert figures.proposed.false_positive_rate == 0.0
    assert figures.proposed.threshold == pytest.approx(0.61)


def test_languages_have_their_own_figures_with_intervals() -> None:
    rows = [
        replace(ROW, level1=label, lang=lang)
        for lang in ("en", "de")
        for label in ("safe", "unsafe")
    ]
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.8, 0.2]], dtype=np.float32)

    figures = measure(
        rows, np.array([0, 1, 0, 1]), scores, LABELS, positive=1, max_false_positive_rate=0.15
    )

    others, german, english = figures.languages
    assert [others.language, german.language, english.language] == ["all but en", "de", "en"]
    assert figures.proposed is not None
    assert figures.proposed.threshold == 0.11
    assert german.recall is not None
    assert english.recall is not None
    assert (german.recall.share, english.recall.share) == (1.0, 1.0)
    # Wilson's interval of 1 hit in 1, by hand: 1 / (1 + 1.96 ** 2).
    assert german.recall.low == pytest.approx(0.2065, abs=1e-4)
    assert german.macro_f1 == pytest.approx(1 / 3)
    assert others == replace(german, language="all but en")
    only_safe = measure(
        rows[:1], np.array([0]), scores[:1], LABELS, positive=1, max_false_positive_rate=0.15
    )
    (english,) = only_safe.languages
    assert english.recall is None
