"""A manifest describes token levels, strictly, and changes nothing for others."""

from collections.abc import Callable
from typing import Any

import pytest

from hazgate.bundle.manifest_checks import parse_manifest
from hazgate.errors import ManifestError
from tests.support.manifests import manifest_data, spell

LABELS = ["O", "B-NAME", "I-NAME"]


def _tokens() -> dict[str, Any]:
    """Return a valid manifest of a cascade and a token level beside it."""
    data = manifest_data()
    level = {**manifest_data()["levels"]["level1"], "labels": LABELS, "output": "tokens"}
    data["levels"]["entities"] = level
    data["schema_version"] = 3
    return data


def test_a_token_level_is_read_and_written_as_it_stands() -> None:
    manifest = parse_manifest(spell(_tokens()))
    level = manifest.levels["entities"]
    assert level.per_token
    assert level.tags.types == ("NAME",)
    assert parse_manifest(manifest.dump()) == manifest
    assert b'"output": "tokens"' in manifest.dump()


def test_other_bundles_say_nothing_of_tokens() -> None:
    manifest = parse_manifest(spell(manifest_data()))
    assert not any(level.per_token for level in manifest.levels.values())
    assert b"output" not in manifest.dump()
    assert b"outside" not in manifest.dump()
    assert manifest.schema_version == 1


def _level(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda data: data["levels"]["entities"].update(fields)


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "older version": (lambda d: d.update(schema_version=2), "$.schema_version: expected 3, got 2"),
    "text spelt out": (_level(output="text"), "output: expected one of ['tokens'], got 'text'"),
    "unknown tag": (_level(labels=["O", "X-NAME"]), "labels: expected O, B-TYPE or I-TYPE"),
    "no outside": (_level(labels=["B-NAME", "I-NAME"]), "expected the tag O once, got it 0 times"),
    "two O": (_level(labels=["O", "O"]), "expected two or more different labels"),
    "foreign outside": (_level(outside="none"), "outside: 'none' is not a label"),
    "sigmoid": (_level(activation="sigmoid"), "activation: a token level has one tag for each"),
    "columns": (_level(columns={"first": 0, "width": 3}), "columns: a token level has none"),
    "positive": (
        _level(positive={"label": "O", "threshold": 0.5, "threshold_source": ""}),
        "positive: a token level has none",
    ),
    "outside of a text": (
        lambda d: d["levels"]["level1"].update(outside="safe"),
        "$.levels.level1.outside: is for a token level",
    ),
    "tagged of a text": (
        lambda d: d["levels"]["level1"].update(tagged="words"),
        "$.levels.level1.tagged: is for a token level",
    ),
    "tagged spelt out": (_level(tagged="tokens"), "tagged: expected one of ['words']"),
    "cascade": (
        lambda d: d["cascade"].update(hazards="entities"),
        "$.cascade.hazards: entities is a token level, which gives no label of a text",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_contradicts_a_token_level_is_named(name: str) -> None:
    spoil, expected = WRONG[name]
    data = _tokens()
    spoil(data)
    with pytest.raises(ManifestError) as refused:
        parse_manifest(spell(data))
    assert expected in str(refused.value)
