"""The project's own rows of personal data say where each value stands."""

import importlib.util
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

TRAINING = Path(__file__).parents[2] / "export" / "training"
FILES = ("personal_data.jsonl", "personal_spans.jsonl")
TYPES = {
    "name", "email", "phone", "address", "date_of_birth", "id_number", "payment", "ip_address",
    "secret",
}  # fmt: skip


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    """The script of the spans, which imports those beside it."""
    names = ("make_personal_data", "personal_values", "make_personal_spans")
    for name in names:
        spec = importlib.util.spec_from_file_location(name, TRAINING / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    yield module
    for name in names:
        del sys.modules[name]


def rows_of(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TRAINING / file).read_text(encoding="utf-8").splitlines()]


@given(seed=st.integers(0, 2**32), choice=st.randoms(use_true_random=False))
def test_a_span_has_exactly_the_characters_of_its_value_whatever_the_seed(
    maker: ModuleType, seed: int, choice: random.Random
) -> None:
    templates = maker.lines_of(maker._SENTENCES) + maker.lines_of(maker._PLAIN_SENTENCES)
    template = choice.choice(templates)
    draw = random.Random(seed)
    drawn: list[tuple[str, str | None]] = []

    def value(slot: str) -> str:
        found: str = maker._value(slot, template, draw)
        drawn.append((found, maker._label(slot)))
        return found

    text, spans = maker.fill(template, value, maker._label)

    assert [(text[span["start"] : span["end"]], span["label"]) for span in spans] == [
        (found, label) for found, label in drawn if label is not None
    ]


@pytest.mark.parametrize("file", FILES)
def test_spans_are_in_order_apart_and_begin_and_end_with_a_character_of_their_own(
    file: str,
) -> None:
    for row in rows_of(file):
        end_before = 0
        for span in row["spans"]:
            part = row["text"][span["start"] : span["end"]]
            assert end_before <= span["start"] < span["end"] <= len(row["text"])
            assert part == part.strip()
            assert span["label"] in TYPES
            end_before = span["end"]


def test_rows_of_kinds_have_a_span_of_each_kind_and_no_span_of_another() -> None:
    for row in rows_of("personal_data.jsonl"):
        assert {span["label"] for span in row["spans"]} - {"ip_address"} == set(row["pii"])


def test_the_rows_of_spans_are_many_in_many_templates_and_two_fifths_have_none() -> None:
    rows = rows_of("personal_spans.jsonl")
    assert len(rows) >= 4000
    assert len({row["group"] for row in rows if row["group"].startswith("spans-")}) >= 60
    assert 0.3 < sum(not row["spans"] for row in rows) / len(rows) < 0.5
    templates = defaultdict(set)
    for row in rows:
        for span in row["spans"]:
            templates[span["label"], "source" in row].add(row["group"])
    for kind in TYPES:
        assert len(templates[kind, False]) >= 20
        assert len(templates[kind, True]) >= 10


def test_names_and_addresses_of_unseen_templates_are_in_no_learned_row(maker: ModuleType) -> None:
    from personal_values import LEARNED, UNSEEN  # type: ignore[import-not-found]

    for part in ("first", "last", "streets", "towns"):
        assert not set(getattr(LEARNED, part)) & set(getattr(UNSEEN, part))
    values: dict[bool, set[str]] = {False: set(), True: set()}
    for row in rows_of("personal_spans.jsonl"):
        values["source" in row] |= {
            row["text"][span["start"] : span["end"]]
            for span in row["spans"]
            if span["label"] in ("name", "address")
        }
    assert not values[False] & values[True]


def test_emoji_and_line_ends_of_windows_stand_before_spans() -> None:
    before = [
        row["text"][: span["start"]]
        for row in rows_of("personal_spans.jsonl")
        for span in row["spans"]
    ]
    assert any("\r\n" in text for text in before)
    assert any(max(text, default="") > "\uffff" for text in before)
