"""Each way in which a manifest can be wrong is refused by the field's name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hazgate import ManifestError
from hazgate.bundle.manifest_checks import parse_manifest
from tests.support.manifests import FILES, SHA256, manifest_data, spell
from tests.support.tiny import LEVELS

Change = Callable[[dict[str, Any]], object]


def _put(*path_and_value: object) -> Change:
    """A change that puts a value (the last argument) at a path (those before it)."""
    *path, last, value = path_and_value

    def change(data: dict[str, Any]) -> None:
        table: Any = data
        for key in path:
            table = table[key]
        table[last] = value

    return change


def _drop(*path: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def _file(path: str) -> Change:
    return _put("files", path, {"sha256": SHA256, "size_bytes": 1})


POSITIVE = {"label": "unsafe", "threshold": 0.5, "threshold_source": "default"}
VARIANT = ("levels", "level2", "variants", "fp32")
WRONG: dict[str, tuple[Change, str]] = {
    "missing field": (_drop("conversation"), "$.conversation: missing"),
    "missing schema": (_drop("schema_version"), "$.schema_version: missing"),
    "missing nested field": (
        _drop(*VARIANT, "parity", "n_texts"),
        "$.levels.level2.variants.fp32.parity.n_texts: missing",
    ),
    "unknown field": (_put("colour", "red"), "$.colour: unknown field"),
    "misspelt nested field": (
        _put("cascade", "treshold", 0.9),
        "$.cascade.treshold: unknown field",
    ),
    "zero schema": (_put("schema_version", 0), "$.schema_version: expected 1, got 0"),
    "negative schema": (_put("schema_version", -1), "$.schema_version: expected 1, got -1"),
    "true as schema": (_put("schema_version", True), "$.schema_version: expected an integer"),
    "schema as text": (_put("schema_version", "1"), "$.schema_version: expected an integer"),
    "number as text": (_put("cascade", "threshold", "0.5"), "$.cascade.threshold: expected a num"),
    "null as text": (_put("name", None), "$.name: expected a string"),
    "text as array": (_put("levels", "level1", "labels", "ab"), "$.levels.level1.labels: expected"),
    "array as table": (_put("levels", []), "$.levels: expected a table"),
    "unknown precision": (_put(*VARIANT, "precision", "int3"), "fp32.precision: expected one of"),
    "unknown treatment of special tokens": (
        _put("levels", "level1", "tokenizer", "special_tokens_in_text", "drop"),
        "$.levels.level1.tokenizer.special_tokens_in_text: expected one of",
    ),
    "path that climbs out": (_file("../secret"), "$.files.../secret: must be a relative path"),
    "path that climbs out late": (_file("a/../../b"), "$.files.a/../../b: must be a relative path"),
    "path that climbs inside": (_file("a/../b"), "$.files.a/../b: must be a relative path"),
    "absolute path": (_file("/etc/passwd"), "$.files./etc/passwd: must be a relative path"),
    "path with two slashes first": (_file("//host/x"), "$.files.//host/x: must be a relative path"),
    "backslash": (_file("..\\secret"), "$.files...\\secret: must be a relative path"),
    "drive": (_file("C:/secret"), "$.files.C:/secret: must be a relative path"),
    "drive without slash": (_file("C:secret"), "$.files.C:secret: must be a relative path"),
    "NUL in a path": (_file("a\0b"), "$.files.a\0b: must be a relative path"),
    "control character in a path": (_file("a\x1b[2Jb"), "must be a relative path"),
    "empty path": (_file(""), "$.files.: must be a relative path"),
    "dot as path": (_file("."), "$.files..: must be a relative path"),
    "path not in normal form": (_file("./a"), "$.files../a: must be a relative path"),
    "path with an empty part": (_file("a//b"), "$.files.a//b: must be a relative path"),
    "path of a directory": (_file("a/"), "$.files.a/: must be a relative path"),
    "the manifest itself": (_file("bundle.json"), "$.files.bundle.json: must be a relative path"),
    "label twice": (
        _put("levels", "level1", "labels", ["unsafe", "unsafe"]),
        "$.levels.level1.labels: expected two or more different labels",
    ),
    "one label": (
        _put("levels", "level1", "labels", ["unsafe"]),
        "$.levels.level1.labels: expected two or more different labels",
    ),
    "default variant missing everywhere": (
        _put("default_variant", "int8"),
        "$.levels.level1.variants: the default 'int8' is missing",
    ),
    "default variant missing in one level": (
        _put("levels", "level2", "variants", {}),
        "$.levels.level2.variants: the default 'fp32' is missing",
    ),
    "unknown gate": (_put("cascade", "gate", "level7"), "$.cascade.gate: no level 'level7'"),
    "unknown positive label": (
        _put("cascade", "positive_label", "bad"),
        "$.cascade.positive_label: 'bad'",
    ),
    "hazards are the gate": (_put("cascade", "hazards", "level1"), "$.cascade.hazards: expected"),
    "unknown hazards": (_put("cascade", "hazards", "level7"), "$.cascade.hazards: expected"),
    "threshold 0": (_put("cascade", "threshold", 0), "$.cascade.threshold: must be between"),
    "threshold 1": (_put("cascade", "threshold", 1), "$.cascade.threshold: must be between"),
    "negative threshold": (_put("cascade", "threshold", -0.1), "$.cascade.threshold: must be"),
    "threshold NaN": (_put("cascade", "threshold", float("nan")), "NaN is not JSON"),
    "threshold Infinity": (
        _put("cascade", "threshold", float("inf")),
        "Infinity is not JSON",
    ),
    "threshold beyond any float": (_put("cascade", "threshold", 10**400), "$.cascade.threshold: "),
    "no level": (_put("levels", {}), "$.levels: must have at least one level"),
    "a positive label besides the cascade's": (
        _put("levels", "level1", "positive", POSITIVE),
        "$.levels.level1.positive: the cascade states it already",
    ),
    "a positive label that the level does not have": (
        _put("levels", "level2", "positive", POSITIVE),
        "$.levels.level2.positive.label: 'unsafe' is not a label of the level",
    ),
    "a positive threshold of 1": (
        _put("levels", "level2", "positive", {**POSITIVE, "threshold": 1.0}),
        "$.levels.level2.positive.threshold: must be between 0 and 1",
    ),
    "thresholds of a softmax level": (
        _put("levels", "level2", "thresholds", {"S7_hate": 0.5}),
        "$.levels.level2.thresholds: are for a multi-label level",
    ),
    "a threshold of an unknown label": (
        _put("levels", "level2", "thresholds", {"S99": 0.5}),
        "$.levels.level2.thresholds: 'S99' is not a label of the level",
    ),
    "a label's threshold of 0": (
        _put("levels", "level2", "thresholds", {"S7_hate": 0}),
        "$.levels.level2.thresholds.S7_hate: must be between 0 and 1",
    ),
    "short sha256": (
        _put("files", "tokenizer.json", "sha256", SHA256[1:]),
        "$.files.tokenizer.json.sha256: expected 64 hexadecimal digits",
    ),
    "sha256 in capitals": (
        _put("files", "tokenizer.json", "sha256", SHA256.upper()),
        "$.files.tokenizer.json.sha256: expected 64 hexadecimal digits",
    ),
    "sha256 with a line break": (
        _put("files", "tokenizer.json", "sha256", SHA256 + "\n"),
        "$.files.tokenizer.json.sha256: expected 64 hexadecimal digits",
    ),
    "a variant with the name of a choice": (
        _put(
            "levels",
            "level1",
            "variants",
            "auto",
            manifest_data()["levels"]["level1"]["variants"]["fp32"],
        ),
        "$.levels.level1.variants: 'auto' cannot name a variant",
    ),
    "negative size": (
        _put("files", "tokenizer.json", "size_bytes", -1),
        "$.files.tokenizer.json.size_bytes: must not be negative",
    ),
    "tokenizer not listed": (
        _put("levels", "level1", "tokenizer", "file", "other.json"),
        "$.levels.level1.tokenizer.file: 'other.json'",
    ),
    "graph not listed": (
        _put(*VARIANT, "graph", "other.onnx"),
        "$.levels.level2.variants.fp32: 'other.onnx'",
    ),
    "weights not listed": (
        _put(*VARIANT, "data", ["other.bin"]),
        "$.levels.level2.variants.fp32: 'other.bin'",
    ),
    "graph is the manifest": (
        _put(*VARIANT, "graph", "bundle.json"),
        "$.levels.level2.variants.fp32: 'bundle.json'",
    ),
    "no room for a token": (
        _put("levels", "level1", "tokenizer", "max_tokens", 0),
        "$.levels.level1.tokenizer.max_tokens: must be positive",
    ),
    "a window over the limit": (
        _put("levels", "level1", "tokenizer", "window_tokens", 65),
        "$.levels.level1.tokenizer.window_tokens: must be from 1 to max_tokens, got 65",
    ),
    "a window of nothing": (
        _put("levels", "level1", "tokenizer", "window_tokens", 0),
        "$.levels.level1.tokenizer.window_tokens: must be from 1 to max_tokens, got 0",
    ),
    "an overlap as long as the window": (
        _put("levels", "level1", "tokenizer", "overlap_tokens", 64),
        "$.levels.level1.tokenizer.overlap_tokens: must be from 0 to less than window_tokens",
    ),
    "a close look from further away": (
        _put("levels", "level1", "tokenizer", "close_tokens", 64),
        "$.levels.level1.tokenizer.close_tokens: must be positive and under window_tokens, got 64",
    ),
    "a look from close by at what is short": (
        lambda data: data["levels"]["level1"]["tokenizer"].update(
            close_tokens=8, sentences_from_tokens=8
        ),
        "$.levels.level1.tokenizer.sentences_from_tokens: must be over close_tokens, got 8",
    ),
    "a margin that adds": (
        lambda data: data["levels"]["level1"]["tokenizer"].update(
            close_tokens=8, sentence_margin=-1.0
        ),
        "$.levels.level1.tokenizer.sentence_margin: must be a finite number from 0, got -1.0",
    ),
    "a margin of no window": (
        _put("levels", "level1", "tokenizer", "sentence_margin", 1.0),
        "$.levels.level1.tokenizer: sentences_from_tokens and sentence_margin mean nothing without",
    ),
    "negative parity": (
        _put(*VARIANT, "parity", "max_abs_logit_diff", -1.0),
        "fp32.parity.max_abs_logit_diff: must be a finite number from 0, got -1.0",
    ),
    "a width in a turn": (
        _put("conversation", "turn", "{content:{role}}"),
        "$.conversation.turn: expected {content} once",
    ),
    "no execution provider": (
        _put(*VARIANT, "execution_providers", []),
        "$.levels.level2.variants.fp32.execution_providers: must name at least one",
    ),
}

RATE = {"share": 0.8, "low": 0.7, "high": 0.9, "n_rows": 50}
WRONG_LANGUAGES: dict[str, tuple[object, str]] = {
    "none": ({}, "$.languages: must name a language"),
    "a region": ({"en-GB": {}}, "$.languages.en-GB: expected a primary tag"),
    "a name": ({"english": {}}, "$.languages.english: expected a primary tag"),
    "shares without a threshold": ({"en": {"recall": RATE}}, "$.languages.en.threshold: missing"),
    "a threshold of 1": ({"en": {"threshold": 1.0}}, "$.languages.en.threshold: must be between"),
    "an interval beside its share": (
        {"en": {"threshold": 0.5, "recall": {**RATE, "low": 0.85}}},
        "$.languages.en.recall: expected 0 ≤ low ≤ share ≤ high ≤ 1",
    ),
    "no rows": (
        {"en": {"threshold": 0.5, "false_positive_rate": {**RATE, "n_rows": 0}}},
        "$.languages.en.false_positive_rate.n_rows: must be positive",
    ),
}


def _refusal(text: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text)
    message = str(caught.value)
    assert message.startswith("bundle.json ")
    return message


@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_manifest_is_refused_by_the_name_of_the_field(way: str) -> None:
    change, named = WRONG[way]
    data = manifest_data()
    change(data)
    assert named in _refusal(spell(data))


@pytest.mark.parametrize("way", WRONG_LANGUAGES)
def test_wrong_languages_are_refused_by_the_name_of_the_field(way: str) -> None:
    languages, named = WRONG_LANGUAGES[way]
    data = {**manifest_data(), "schema_version": 4, "languages": languages}
    assert named in _refusal(spell(data))


def test_a_manifest_with_languages_has_schema_version_4_and_others_keep_theirs() -> None:
    plain = manifest_data()
    assert parse_manifest(spell(plain)).languages is None
    assert "languages" not in json.loads(parse_manifest(spell(plain)).dump())
    english = {"en": {"threshold": 0.5, "recall": RATE}, "de": {}}
    data = {**plain, "schema_version": 4, "languages": english}
    manifest = parse_manifest(spell(data))
    assert json.loads(manifest.dump())["languages"] == english
    for version, languages, expected in ((1, english, 4), (4, None, 1)):
        wrong = {**plain, "schema_version": version}
        if languages:
            wrong["languages"] = languages
        named = f"$.schema_version: expected {expected}, got {version}"
        assert named in _refusal(spell(wrong))


def test_an_infinite_parity_is_refused_however_json_spells_it() -> None:
    text = json.dumps(manifest_data()).replace(
        '"max_abs_logit_diff": 1e-06', '"max_abs_logit_diff": 1e999'
    )
    assert "1e999" in text
    assert "max_abs_logit_diff: must be a finite number" in _refusal(text.encode())


def test_the_manifest_that_the_cases_spoil_is_valid_itself() -> None:
    manifest = parse_manifest(spell(manifest_data()))
    assert manifest.levels["level1"].labels == ("safe", "unsafe")
    assert set(manifest.files) == set(FILES)


def test_a_newer_schema_is_refused_before_its_fields_are_judged() -> None:
    message = _refusal(spell({"schema_version": 5, "what_comes_next": {}}))
    assert "schema version 5" in message
    assert "Upgrade hazgate" in message
    assert "unknown field" not in message


def test_a_field_given_twice_is_refused_by_name() -> None:
    text = spell(manifest_data()).replace(
        b'"threshold": 0.5', b'"threshold": 0.5, "threshold": 0.9'
    )
    message = _refusal(text)
    assert "twice" in message
    assert "threshold" in message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"schema_version = 1",
        spell(manifest_data())[:-1],
        b'{"name": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"\x00" * 64,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"schema_version": ' + b"9" * 5_000 + b"}",
    ],
    ids=[
        "empty",
        "TOML",
        "cut off",
        "not UTF-8",
        "byte order mark",
        "zeros",
        "deep arrays",
        "deep tables",
        "number without end",
    ],
)
def test_what_is_not_a_json_document_is_refused_as_such(text: bytes) -> None:
    assert "is not a JSON document" in _refusal(text)


@pytest.mark.parametrize("text", [b"[]", b"null", b"1", b'"bundle"', b"true"], ids=bytes.decode)
def test_json_that_is_no_table_is_refused(text: bytes) -> None:
    assert "$: expected a table" in _refusal(text)


def test_nesting_of_any_depth_is_refused_and_never_escapes_as_another_error() -> None:
    for depth in range(1, 1200):
        text = spell(manifest_data()).replace(b'"small"', b"[" * depth + b"]" * depth)
        assert _refusal(text)


def test_a_path_that_no_file_system_can_spell_is_refused() -> None:
    data = manifest_data()
    data["files"]["\ud800"] = {"sha256": SHA256, "size_bytes": 1}
    assert "$.files." in _refusal(spell(data))


def test_every_problem_is_reported_at_once() -> None:
    data = manifest_data()
    del data["name"]
    data["colour"] = "red"
    data["cascade"]["threshold"] = "high"
    data["levels"]["level1"]["tokenizer"]["max_tokens"] = None
    message = _refusal(spell(data))
    for path in ("name", "colour", "cascade.threshold", "levels.level1.tokenizer.max_tokens"):
        assert f"$.{path}: " in message


def test_every_contradiction_is_reported_at_once() -> None:
    data = manifest_data()
    data["files"]["../a"] = {"sha256": "no", "size_bytes": -1}
    data["cascade"].update({"threshold": 2, "hazards": "level1", "positive_label": "bad"})
    message = _refusal(spell(data))
    for path in (
        "files.../a: ",
        "files.../a.sha256",
        "files.../a.size_bytes",
        "cascade.threshold",
        "cascade.hazards",
        "cascade.positive_label",
    ):
        assert f"$.{path}" in message


def test_the_dumped_manifest_parses_to_the_same_and_dumps_to_the_same_bytes() -> None:
    manifest = parse_manifest(spell(manifest_data()))
    text = manifest.dump()
    assert parse_manifest(text) == manifest
    assert parse_manifest(text).dump() == text
    assert json.loads(text) == manifest_data()


def test_a_bundle_without_a_cascade_states_none_in_its_bytes() -> None:
    data = manifest_data()
    del data["cascade"]
    manifest = parse_manifest(spell(data))
    assert manifest.cascade is None
    assert json.loads(manifest.dump()) == data


def test_what_a_level_states_of_its_own_is_dumped_with_it() -> None:
    data = manifest_data()
    del data["cascade"]
    data["levels"]["level1"]["positive"] = POSITIVE
    data["levels"]["level2"].update(activation="sigmoid", thresholds={"S7_hate": 0.25})
    manifest = parse_manifest(spell(data))
    assert json.loads(manifest.dump()) == data
    assert parse_manifest(manifest.dump()) == manifest
    level2 = manifest.levels["level2"]
    assert dict(zip(level2.labels, level2.label_thresholds, strict=True))["S7_hate"] == 0.25
    assert sorted(set(level2.label_thresholds)) == [0.25, 0.5]


def test_a_threshold_is_stated_once() -> None:
    data = manifest_data()
    del data["cascade"]
    data["levels"]["level1"].update(
        positive=POSITIVE, activation="sigmoid", thresholds={"unsafe": 0.25}
    )
    assert "$.levels.level1.thresholds.unsafe: `positive` states it already" in _refusal(
        spell(data)
    )


def test_the_bytes_of_the_committed_bundles_manifest_are_unchanged(tiny_bundle: Path) -> None:
    text = (tiny_bundle / "bundle.json").read_bytes()
    assert parse_manifest(text).dump() == text


def _on_one_body() -> dict[str, Any]:
    """Return a valid manifest whose levels are columns of one graph."""
    data = manifest_data()
    data["schema_version"] = 2
    level1, level2 = data["levels"]["level1"], data["levels"]["level2"]
    width = len(level1["labels"]) + len(level2["labels"])
    for level in (level1, level2):
        level["adapter"] = level1["adapter"]
        level["variants"]["fp32"]["graph"] = "level1-fp32.onnx"
    level1["columns"] = {"first": 0, "width": width}
    level2["columns"] = {"first": len(level1["labels"]), "width": width}
    return data


def test_levels_on_one_body_stand_together_and_know_their_columns() -> None:
    manifest = parse_manifest(spell(_on_one_body()))
    assert manifest.bodies() == (("level1", "level2"),)
    assert manifest.levels["level2"].own_columns == slice(2, 2 + len(LEVELS["level2"]))
    assert manifest.levels["level1"].n_logits == manifest.levels["level2"].n_logits
    assert parse_manifest(spell(manifest_data())).bodies() == (("level1",), ("level2",))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_put("schema_version", 1), "$.schema_version: expected 2, got 1"),
        (
            _put("levels", "level2", "columns", "first", 1),
            "$.levels.level2.columns: are also those of level1",
        ),
        (
            _put("levels", "level2", "columns", "first", 99),
            "$.levels.level2.columns: expected",
        ),
        (
            _put("levels", "level1", "columns", "first", -1),
            "$.levels.level1.columns: expected",
        ),
        (
            _put("levels", "level2", "columns", "width", 99),
            "$.levels.level2.columns.width: expected that of level1",
        ),
        (
            _put("levels", "level2", "tokenizer", "close_tokens", 8),
            "$.levels.level2.tokenizer: expected that of level1",
        ),
        (
            _put("levels", "level2", "variants", "fp32", "batching", "alone"),
            "$.levels.level2.variants.fp32: expected that of level1",
        ),
    ],
)
def test_levels_that_cannot_share_a_body_are_refused(change: Change, problem: str) -> None:
    data = _on_one_body()
    change(data)
    assert problem in _refusal(spell(data))
