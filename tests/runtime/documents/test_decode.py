"""Plain data becomes dataclasses exactly, or every reason why it cannot is named."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate.bundle.manifest import (
    CascadeSpec,
    FileSpec,
    LevelSpec,
    Manifest,
    ParitySpec,
    SourceSpec,
    TokenizerSpec,
    VariantSpec,
)
from hazgate.documents.decode import decode, encode
from tests.support.manifests import manifest_data

TEXT = st.text(max_size=8)
# NaN is not equal to itself; that it survives is of no use to anybody.
NUMBER = st.floats(allow_nan=False)
PARITY = st.builds(ParitySpec, max_abs_logit_diff=NUMBER, max_invariance_diff=NUMBER)
SOURCE = st.builds(SourceSpec, id=TEXT, revision=st.none() | TEXT, sha256=TEXT)
VARIANT = st.builds(
    VariantSpec,
    data=st.lists(TEXT, max_size=2).map(tuple),
    execution_providers=st.lists(TEXT, max_size=2).map(tuple),
    parity=PARITY,
)
LEVEL = st.builds(
    LevelSpec,
    labels=st.lists(TEXT, max_size=3).map(tuple),
    tokenizer=st.builds(TokenizerSpec),
    base=SOURCE,
    adapter=SOURCE,
    variants=st.dictionaries(TEXT, VARIANT, max_size=2),
)
MANIFEST = st.builds(
    Manifest,
    levels=st.dictionaries(TEXT, LEVEL, max_size=2),
    cascade=st.builds(CascadeSpec, threshold=NUMBER),
    files=st.dictionaries(TEXT, st.builds(FileSpec), max_size=2),
    provenance=st.dictionaries(TEXT, TEXT, max_size=2),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One field of each kind that `decode` knows."""

    text: str = ""
    flag: bool = False
    count: int = 0
    share: float = 0.0
    choice: Literal["a", "b"] = "a"
    names: tuple[str, ...] = ()
    table: Mapping[str, int] | None = None


@given(manifest=MANIFEST)
@settings(deadline=None, max_examples=50)
def test_decode_turns_encoded_json_back_into_the_same_manifest(manifest: Manifest) -> None:
    problems: list[str] = []
    text = json.dumps(encode(manifest))
    assert decode(Manifest, json.loads(text), problems) == manifest
    assert problems == []


LEAVES = sorted(
    {
        *(
            ("levels", level, *path)
            for level in ("level1", "level2")
            for path in (
                ("labels",),
                ("family",),
                ("tokenizer", "file"),
                ("tokenizer", "max_tokens"),
                ("tokenizer", "special_tokens_in_text"),
                ("base", "revision"),
                ("adapter", "sha256"),
                ("variants", "fp32", "precision"),
                ("variants", "fp32", "batching"),
                ("variants", "fp32", "parity", "max_abs_logit_diff"),
            )
        ),
        ("schema_version",),
        ("name",),
        ("cascade", "threshold"),
        ("files", "tokenizer.json", "size_bytes"),
        ("provenance", "torch"),
    }
)


def _table_at(data: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        data = data[key]
    return data


@given(paths=st.sets(st.sampled_from(LEAVES)))
@settings(deadline=None, max_examples=100)
def test_decode_names_every_field_of_a_wrong_type_and_no_other(paths: set[tuple[str, ...]]) -> None:
    data = copy.deepcopy(manifest_data())
    for path in paths:
        table = _table_at(data, path)
        is_text = isinstance(table[path[-1]], str) or table[path[-1]] is None
        table[path[-1]] = 7 if is_text else "wrong"
    problems: list[str] = []
    manifest = decode(Manifest, data, problems)
    assert {problem.split(": ")[0] for problem in problems} == {"$." + ".".join(p) for p in paths}
    assert len(problems) == len(paths)
    assert (manifest is None) == bool(paths)


def _tables(data: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of the tables in `data` whose fields a type fixes."""
    if isinstance(data, dict):
        if path[-1:] not in (("levels",), ("variants",), ("files",), ("provenance",)):
            yield path
        for key, item in data.items():
            yield from _tables(item, (*path, key))


@pytest.mark.parametrize("path", list(_tables(manifest_data())), ids=lambda path: ".".join(path))
def test_decode_names_a_missing_and_an_unknown_field_of_each_table(path: tuple[str, ...]) -> None:
    data = manifest_data()
    table = _table_at(data, (*path, ""))
    gone = next(iter(table))
    del table[gone]
    table["colour"] = "red"
    problems: list[str] = []
    assert decode(Manifest, data, problems) is None
    where = ".".join(("$", *path))
    assert sorted(problems) == sorted(
        [f"{where}.colour: unknown field", f"{where}.{gone}: missing"]
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"count": True}, "$.count: expected an integer, got True"),
        ({"count": 1.0}, "$.count: expected an integer, got 1.0"),
        ({"share": False}, "$.share: expected a number, got False"),
        ({"share": "0.5"}, "$.share: expected a number, got '0.5'"),
        ({"flag": 1}, "$.flag: expected true or false, got 1"),
        ({"text": None}, "$.text: expected a string, got None"),
        ({"choice": "c"}, "$.choice: expected one of ['a', 'b'], got 'c'"),
        ({"choice": ["a"]}, "$.choice: expected one of ['a', 'b'], got ['a']"),
        ({"names": "abc"}, "$.names: expected an array, got 'abc'"),
        ({"names": ["a", 1]}, "$.names[1]: expected a string, got 1"),
        ({"table": [1]}, "$.table: expected a table, got [1]"),
        ({"table": {"x": "y"}}, "$.table.x: expected an integer, got 'y'"),
        ([], "$: expected a table, got []"),
        (None, "$: expected a table, got None"),
    ],
    ids=str,
)
def test_decode_refuses_a_value_of_another_type(data: object, problem: str) -> None:
    problems: list[str] = []
    assert decode(Sample, data, problems) is None
    assert problems == [problem]


def test_decode_takes_an_integer_where_a_number_is_due_and_makes_it_a_float() -> None:
    problems: list[str] = []
    sample = decode(Sample, {"share": 1}, problems)
    assert sample is not None
    assert isinstance(sample.share, float)
    assert problems == []


def test_decode_reports_an_integer_that_no_float_can_hold() -> None:
    problems: list[str] = []
    assert decode(Sample, {"share": 10**400}, problems) is None
    assert len(problems) == 1
    assert problems[0].startswith("$.share: ")


def test_decode_fills_defaults_and_keeps_none() -> None:
    problems: list[str] = []
    assert decode(Sample, {"table": None}, problems) == Sample()
    assert problems == []


def test_decode_shortens_a_long_value_in_its_message() -> None:
    problems: list[str] = []
    decode(Sample, {"count": "x" * 10_000}, problems)
    assert len(problems[0]) < 120


def test_problems_of_an_earlier_document_do_not_spoil_a_good_one() -> None:
    problems = ["$.other: missing"]
    assert decode(Sample, {}, problems) == Sample()
    assert problems == ["$.other: missing"]
