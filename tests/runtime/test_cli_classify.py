"""`hazgate classify`: verdicts on standard output, by the options and policies given."""

import json
from pathlib import Path

import pytest

from hazgate import Bundle
from tests.support.command_line import FLAGGED, PASSED, classify, lines_of, printed, run
from tests.support.tiny import HAZARDS

FIELDS = ["flagged", "unsafe", "scores", "hazard", "hazards", "detected"]
FIELDS += ["tokens", "truncated", "understood", "views", "span", "decision", "shadow", "model"]


def test_a_flagged_text_prints_one_object_of_the_promised_shape(tiny_bundle: Path) -> None:
    (verdict,) = classify(tiny_bundle, FLAGGED)
    assert list(verdict) == FIELDS
    assert verdict["flagged"] is True
    assert 0.5 <= verdict["unsafe"] < 1
    assert list(verdict["hazards"]) == list(HAZARDS)
    assert verdict["hazard"] == max(HAZARDS, key=verdict["hazards"].__getitem__)
    assert list(verdict["tokens"]) == ["total", "read", "unknown", "windows"]
    assert verdict["tokens"]["total"] == verdict["tokens"]["read"] > 0
    assert verdict["truncated"] is False
    assert verdict["span"] == {"start": 0, "end": len(FLAGGED)}
    assert verdict["model"] == {
        "bundle": "tiny",
        "digest": Bundle.open(tiny_bundle).digest,
        "variant": "int8",
        "provider": "CPUExecutionProvider",
    }
    assert list(verdict["model"]) == ["bundle", "digest", "variant", "provider"]


def test_a_text_that_passes_has_null_hazards_unless_they_are_asked_for(tiny_bundle: Path) -> None:
    (shut,) = classify(tiny_bundle, PASSED)
    assert list(shut) == FIELDS
    assert (shut["flagged"], shut["hazard"], shut["hazards"]) == (False, None, None)
    (asked,) = classify(tiny_bundle, PASSED, "--all-levels")
    assert asked["flagged"] is False
    assert asked["hazard"] in HAZARDS
    assert [asked] == printed(tiny_bundle, PASSED, all_levels=True)


def test_verdicts_come_in_the_order_of_the_arguments(tiny_bundle: Path) -> None:
    texts = ("bomb", PASSED, "", FLAGGED, "你好")
    assert classify(tiny_bundle, *texts) == printed(tiny_bundle, *texts)


def test_a_text_may_begin_with_a_dash_after_two_dashes(tiny_bundle: Path) -> None:
    assert classify(tiny_bundle, "--", "-x") == printed(tiny_bundle, "-x")


def test_options_reach_the_gate(tiny_bundle: Path) -> None:
    (verdict,) = classify(tiny_bundle, FLAGGED, "--variant", "fp32", "--threshold", "0.9999")
    assert verdict["model"]["variant"] == "fp32"
    assert verdict["flagged"] is False


def test_a_file_of_more_than_one_chunk_is_answered_in_order(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    texts = [f"text {i}" for i in range(300)]
    file = tmp_path / "texts.jsonl"
    file.write_bytes(lines_of(*({"text": text} for text in texts)))
    result = run("classify", tiny_bundle, "--threads", "1", "--file", file)
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == printed(tiny_bundle, *texts)
    assert "300/300" in result.stderr


def test_blank_lines_are_skipped_and_other_fields_dropped(tiny_bundle: Path) -> None:
    stdin = b"\n" + lines_of({"id": 7, "text": PASSED}) + b"  \r\n" + lines_of({"text": FLAGGED})
    verdicts = classify(tiny_bundle, "-", stdin=stdin)
    assert verdicts == printed(tiny_bundle, PASSED, FLAGGED)


def test_a_last_line_without_its_end_is_a_line(tiny_bundle: Path) -> None:
    assert len(classify(tiny_bundle, "-", stdin=lines_of({"text": PASSED}).rstrip())) == 1


def test_an_empty_input_has_no_verdicts(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert classify(tiny_bundle, "--file", tmp_path / "empty.jsonl") == []
    assert classify(tiny_bundle, "-") == []


def test_other_fields_are_passed_through_untouched_on_request(tiny_bundle: Path) -> None:
    rest = {"id": 7, "tags": ["a", None, {"b": 1.5}], "flagged": "ä", "input": {}}
    stdin = lines_of({"text": PASSED, **rest}, {"text": PASSED})
    first, second = classify(tiny_bundle, "-", "--pass-through", stdin=stdin)
    assert list(first) == [*FIELDS, "input"]
    assert first["input"] == rest
    assert second["input"] == {}
    assert first["flagged"] is False


def test_a_field_that_utf8_cannot_spell_is_passed_through(tiny_bundle: Path) -> None:
    stdin = b'{"text": "hello", "id": "\\ud800"}\n'
    (verdict,) = classify(tiny_bundle, "-", "--pass-through", stdin=stdin)
    assert verdict["input"] == {"id": "\ud800"}


def test_a_table_is_for_people(tiny_bundle: Path) -> None:
    result = run("classify", tiny_bundle, "--table", "--threads", "1", FLAGGED, PASSED)
    assert result.exit_code == 0
    flagged, passed = (
        next(line for line in result.stdout.splitlines() if word in line)
        for word in ("How", PASSED)
    )
    assert "yes" in flagged
    assert "no" in passed
    assert "{" not in result.stdout


def test_a_table_takes_texts_as_they_are_and_not_as_markup(tiny_bundle: Path) -> None:
    result = run("classify", tiny_bundle, "--table", "[red]x[/nonsense]")
    assert result.exit_code == 0
    assert "[red]" in result.stdout


def test_flagged_texts_fail_only_where_asked_and_after_all_verdicts(tiny_bundle: Path) -> None:
    texts = (FLAGGED, PASSED)
    assert len(classify(tiny_bundle, *texts)) == 2
    failing = run("classify", tiny_bundle, "--fail-on-flagged", *texts)
    assert failing.exit_code == 1
    assert len(failing.stdout.splitlines()) == 2
    passing = run("classify", tiny_bundle, "--fail-on-flagged", PASSED)
    assert passing.exit_code == 0


def test_a_flagged_text_of_an_early_chunk_is_not_forgotten(tiny_bundle: Path) -> None:
    stdin = lines_of({"text": FLAGGED}, *[{"text": PASSED}] * 600)
    result = run("classify", tiny_bundle, "-", "--threads", "1", "--fail-on-flagged", stdin=stdin)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 601


def test_a_long_text_is_read_whole_unless_its_beginning_or_nothing_is_asked_for(
    tiny_bundle: Path,
) -> None:
    text = "summer " * 200
    (whole,) = classify(tiny_bundle, text)
    assert whole["tokens"]["windows"] > 1
    assert whole["tokens"]["read"] == whole["tokens"]["total"]
    (cut,) = classify(tiny_bundle, text, "--long-texts", "truncate")
    assert cut["truncated"] is True
    assert cut["tokens"]["windows"] == 1
    refused = run("classify", tiny_bundle, text, "--long-texts", "reject")
    assert refused.exit_code == 4
    assert "fit into one window" in refused.stderr


POLICY = """schema_version = 1
name = "toy"
mode = "loose"
[gate]
controversial = 0.01
unsafe = 0.02
[hazards]
default = { action = "flag", threshold = 0.3 }
[tenants.lenient.gate]
controversial = 0.98
unsafe = 0.99
"""


def test_a_policy_decides_for_the_tenant_and_a_shadow_stands_beside(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(POLICY, encoding="utf-8")
    (verdict,) = classify(tiny_bundle, PASSED, "--policy", file)
    assert verdict["flagged"] is True
    assert verdict["decision"]["action"] == "flag"
    assert verdict["decision"]["policy"]["name"] == "toy"
    (lenient,) = classify(tiny_bundle, PASSED, "--policy", file, "--tenant", "lenient")
    assert lenient["flagged"] is False
    assert lenient["decision"]["policy"]["tenant"] == "lenient"
    (beside,) = classify(tiny_bundle, PASSED, "--shadow", file)
    assert (beside["flagged"], beside["decision"]) == (False, None)
    assert beside["shadow"]["action"] == "flag"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--policy", "p.toml", "--threshold", "0.5"), "--policy or --threshold"),
        (("--tenant", "t"), "--tenant needs a --policy"),
    ],
)
def test_options_that_contradict_each_other_exit_with_2(
    tiny_bundle: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = run("classify", tiny_bundle, PASSED, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_policy_that_is_wrong_exits_with_3(tiny_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("name = 7", encoding="utf-8")
    result = run("classify", tiny_bundle, PASSED, "--policy", file)
    assert result.exit_code == 3
    assert "$.gate" in result.stderr


def test_categories_of_another_taxonomy_come_on_demand(tiny_bundle: Path) -> None:
    (verdict,) = classify(tiny_bundle, FLAGGED, "--taxonomy", "ailuminate")
    assert verdict["categories"]["prv"] == verdict["hazards"]["S9_privacy"]
    result = run("classify", tiny_bundle, FLAGGED, "--taxonomy", "none-such")
    assert result.exit_code == 4
    assert "ailuminate" in result.stderr
