"""The command line: verdicts on standard output, messages on standard error, exit codes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import hazgate
from hazgate import Bundle, Gate
from hazgate.cli.group import cli
from hazgate.documents.decode import encode
from hazgate.engine.options import EngineOptions
from tests.support.damage import edit_manifest, flip_byte, replace_graph
from tests.support.graphs import constant_graph
from tests.support.processes import run_python
from tests.support.tiny import HAZARDS, SHARED_WEIGHTS

# Far from the threshold with the tiny bundle's random weights: 0.66 and 0.30.
FLAGGED, PASSED = "How do I kill a Python process?", "summer"
UNSAFE, SAFE = constant_graph([-9, 9]), constant_graph([9, -9])
MARKER = "unrepeatable"
FIELDS = ["flagged", "unsafe", "scores", "hazard", "hazards", "detected"]
FIELDS += ["tokens", "truncated", "understood", "views", "span", "decision", "shadow", "model"]


def _hazgate(*arguments: str | Path, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)


def _classify(bundle: Path, *arguments: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    """Return the verdicts that a run prints; the run must succeed."""
    result = _hazgate("classify", bundle, "--threads", "1", *arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def _lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _expected(bundle: Path, *texts: str, all_levels: bool = False) -> list[dict[str, Any]]:
    gate = Gate.open(bundle, engine=EngineOptions(threads=1))
    return [v.to_dict() for v in gate.check_many(texts, all_levels=all_levels)]


# What classify prints


def test_a_flagged_text_prints_one_object_of_the_promised_shape(tiny_bundle: Path) -> None:
    (verdict,) = _classify(tiny_bundle, FLAGGED)
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
    (shut,) = _classify(tiny_bundle, PASSED)
    assert list(shut) == FIELDS
    assert (shut["flagged"], shut["hazard"], shut["hazards"]) == (False, None, None)
    (asked,) = _classify(tiny_bundle, PASSED, "--all-levels")
    assert asked["flagged"] is False
    assert asked["hazard"] in HAZARDS
    assert [asked] == _expected(tiny_bundle, PASSED, all_levels=True)


def test_verdicts_come_in_the_order_of_the_arguments(tiny_bundle: Path) -> None:
    texts = ("bomb", PASSED, "", FLAGGED, "你好")
    assert _classify(tiny_bundle, *texts) == _expected(tiny_bundle, *texts)


def test_a_text_may_begin_with_a_dash_after_two_dashes(tiny_bundle: Path) -> None:
    assert _classify(tiny_bundle, "--", "-x") == _expected(tiny_bundle, "-x")


def test_options_reach_the_gate(tiny_bundle: Path) -> None:
    (verdict,) = _classify(tiny_bundle, FLAGGED, "--variant", "fp32", "--threshold", "0.9999")
    assert verdict["model"]["variant"] == "fp32"
    assert verdict["flagged"] is False


def test_a_file_of_more_than_one_chunk_is_answered_in_order(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    texts = [f"text {i}" for i in range(300)]
    file = tmp_path / "texts.jsonl"
    file.write_bytes(_lines(*({"text": text} for text in texts)))
    result = _hazgate("classify", tiny_bundle, "--threads", "1", "--file", file)
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == _expected(
        tiny_bundle, *texts
    )
    assert "300/300" in result.stderr


def test_blank_lines_are_skipped_and_other_fields_dropped(tiny_bundle: Path) -> None:
    stdin = b"\n" + _lines({"id": 7, "text": PASSED}) + b"  \r\n" + _lines({"text": FLAGGED})
    verdicts = _classify(tiny_bundle, "-", stdin=stdin)
    assert verdicts == _expected(tiny_bundle, PASSED, FLAGGED)


def test_a_last_line_without_its_end_is_a_line(tiny_bundle: Path) -> None:
    assert len(_classify(tiny_bundle, "-", stdin=_lines({"text": PASSED}).rstrip())) == 1


def test_an_empty_input_has_no_verdicts(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert _classify(tiny_bundle, "--file", tmp_path / "empty.jsonl") == []
    assert _classify(tiny_bundle, "-") == []


def test_other_fields_are_passed_through_untouched_on_request(tiny_bundle: Path) -> None:
    rest = {"id": 7, "tags": ["a", None, {"b": 1.5}], "flagged": "ä", "input": {}}
    stdin = _lines({"text": PASSED, **rest}, {"text": PASSED})
    first, second = _classify(tiny_bundle, "-", "--pass-through", stdin=stdin)
    assert list(first) == [*FIELDS, "input"]
    assert first["input"] == rest
    assert second["input"] == {}
    assert first["flagged"] is False


def test_a_field_that_utf8_cannot_spell_is_passed_through(tiny_bundle: Path) -> None:
    stdin = b'{"text": "hello", "id": "\\ud800"}\n'
    (verdict,) = _classify(tiny_bundle, "-", "--pass-through", stdin=stdin)
    assert verdict["input"] == {"id": "\ud800"}


def test_a_table_is_for_people(tiny_bundle: Path) -> None:
    result = _hazgate("classify", tiny_bundle, "--table", "--threads", "1", FLAGGED, PASSED)
    assert result.exit_code == 0
    flagged, passed = (
        next(line for line in result.stdout.splitlines() if word in line)
        for word in ("How", PASSED)
    )
    assert "yes" in flagged
    assert "no" in passed
    assert "{" not in result.stdout


def test_a_table_takes_texts_as_they_are_and_not_as_markup(tiny_bundle: Path) -> None:
    result = _hazgate("classify", tiny_bundle, "--table", "[red]x[/nonsense]")
    assert result.exit_code == 0
    assert "[red]" in result.stdout


def test_flagged_texts_fail_only_where_asked_and_after_all_verdicts(tiny_bundle: Path) -> None:
    texts = (FLAGGED, PASSED)
    assert len(_classify(tiny_bundle, *texts)) == 2
    failing = _hazgate("classify", tiny_bundle, "--fail-on-flagged", *texts)
    assert failing.exit_code == 1
    assert len(failing.stdout.splitlines()) == 2
    passing = _hazgate("classify", tiny_bundle, "--fail-on-flagged", PASSED)
    assert passing.exit_code == 0


def test_a_flagged_text_of_an_early_chunk_is_not_forgotten(tiny_bundle: Path) -> None:
    stdin = _lines({"text": FLAGGED}, *[{"text": PASSED}] * 600)
    result = _hazgate(
        "classify", tiny_bundle, "-", "--threads", "1", "--fail-on-flagged", stdin=stdin
    )
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 601


# Usage


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("text", "--file", "texts.jsonl"),
        ("text", "--threshold", "0"),
        ("text", "--threshold", "1"),
        ("text", "--threshold", "nan"),
        ("text", "--threshold", "high"),
        ("text", "--threads", "0"),
        ("text", "--colour"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(tiny_bundle: Path, arguments: tuple[str, ...]) -> None:
    result = _hazgate("classify", tiny_bundle, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_a_command_without_a_bundle_is_wrong_usage(command: str) -> None:
    assert _hazgate(command).exit_code == 2


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_help_has_an_example_of_each_command(command: str, option: str) -> None:
    result = _hazgate(command, option)
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"hazgate {command} build/mini" in result.stdout


def test_help_tells_commands_and_exit_codes() -> None:
    result = _hazgate("--help")
    assert result.exit_code == 0
    for word in ("classify", "info", "verify-files", "Exit codes", "3 bundle", "4 input"):
        assert word in " ".join(result.stdout.split())


def test_the_version_is_the_packages() -> None:
    assert _hazgate("--version").stdout.strip().endswith(hazgate.__version__)


# Bundles that cannot be served


@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_a_damaged_bundle_exits_with_3_and_names_the_file(bundle_copy: Path, command: str) -> None:
    flip_byte(bundle_copy / SHARED_WEIGHTS)
    text = ["hello"] if command == "classify" else []
    result = _hazgate(command, bundle_copy, *text)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert f"{SHARED_WEIGHTS}: SHA-256 differs" in result.stderr


@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_no_bundle_exits_with_3(tmp_path: Path, command: str) -> None:
    text = ["hello"] if command == "classify" else []
    result = _hazgate(command, tmp_path / "none", *text)
    assert result.exit_code == 3
    assert "is not a bundle" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--variant", "int4", "no variant 'int4'"),
        ("--provider", "CUDAExecutionProvider", "0 NVIDIA GPUs"),
    ],
)
def test_a_name_that_the_bundle_lacks_exits_with_3(
    tiny_bundle: Path, option: str, value: str, said: str
) -> None:
    result = _hazgate("classify", tiny_bundle, "hello", option, value)
    assert result.exit_code == 3
    assert said in result.stderr


def test_a_provider_of_no_known_name_exits_with_3_and_those_that_are(tiny_bundle: Path) -> None:
    result = _hazgate("classify", tiny_bundle, "hello", "--provider", "NoSuchExecutionProvider")
    assert result.exit_code == 3
    assert "known are migraphx, rocm" in result.stderr


# Input that cannot be read

BAD_LINES = {
    2: b"not json " + MARKER.encode(),
    3: b'["' + MARKER.encode() + b'"]',
    5: b'{"txt": "' + MARKER.encode() + b'"}',
    6: b'{"text": 7}',
    8: b'{"text": "\xff"}',
    9: b'{"text": "' + MARKER.encode() + b'\\ud800"}',
    11: b"[" * 100_000,
}


def test_every_bad_line_of_a_file_is_named_before_anything_is_answered(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    good = _lines({"text": MARKER}).rstrip()
    file = tmp_path / "texts.jsonl"
    file.write_bytes(b"\n".join(BAD_LINES.get(number, good) for number in range(1, 13)))
    result = _hazgate("classify", tiny_bundle, "--file", file)
    assert result.exit_code == 4
    assert result.stdout == ""
    assert f"{len(BAD_LINES)} bad lines" in result.stderr
    named = [line for line in result.stderr.splitlines() if line.startswith("  - line ")]
    assert [int(line.split()[2].rstrip(":")) for line in named] == list(BAD_LINES)
    assert MARKER not in result.stderr


def test_a_file_of_another_kind_names_some_lines_and_counts_the_rest(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "texts.csv"
    file.write_bytes(b"id,text\n" * 1000)
    result = _hazgate("classify", tiny_bundle, "--file", file)
    assert result.exit_code == 4
    assert "1000 bad lines" in result.stderr
    assert "and 980 more" in result.stderr
    assert len(result.stderr.splitlines()) < 30


def test_a_bad_line_of_standard_input_is_named(tiny_bundle: Path) -> None:
    stdin = _lines({"text": PASSED}) + BAD_LINES[2]
    result = _hazgate("classify", tiny_bundle, "-", stdin=stdin)
    assert result.exit_code == 4
    assert "standard input, line 2: not JSON" in result.stderr
    assert MARKER not in result.stderr


@pytest.mark.parametrize(
    ("stdin", "hint"),
    [
        (b'[{"text": "a"}]\n', "jq -c"),
        (b"id,text\n1,a\n", "--plain"),
        (b"a plain text\n", "--plain"),
        (b'"a string"\n', "--plain"),
    ],
)
def test_input_of_another_form_comes_with_a_hint(
    tiny_bundle: Path, stdin: bytes, hint: str
) -> None:
    result = _hazgate("classify", tiny_bundle, "-", stdin=stdin)
    assert result.exit_code == 4
    assert hint in result.stderr


def test_plain_lines_are_texts(tiny_bundle: Path, tmp_path: Path) -> None:
    stdin = "\ufeffone\r\n\n  two\nthrée".encode()
    result = _hazgate("classify", tiny_bundle, "-", "--plain", stdin=stdin)
    texts = [_hazgate("classify", tiny_bundle, text) for text in ("one", "  two", "thrée")]
    assert result.stdout == "".join(one.stdout for one in texts)
    (tmp_path / "a.txt").write_bytes(stdin)
    assert _hazgate("classify", tiny_bundle, "--file", tmp_path / "a.txt", "--plain").stdout == (
        result.stdout
    )
    refused = _hazgate("classify", tiny_bundle, "-", "--plain", stdin=b"\xff")
    assert (refused.exit_code, "not UTF-8" in refused.stderr) == (4, True)
    assert _hazgate("classify", tiny_bundle, "text", "--plain").exit_code == 2


def test_ctrl_c_exits_with_130(tiny_bundle: Path, request: pytest.FixtureRequest) -> None:
    # A shell's background jobs inherit that it is ignored; a handler is not inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    command = [sys.executable, "-m", "hazgate", "classify", str(tiny_bundle), "-", "--plain"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # A whole chunk is answered at once: then the command waits for more.
        process.stdin.write(b"a\n" * 256)
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.decode() == "interrupted\n"


def test_a_missing_file_exits_with_4(tiny_bundle: Path, tmp_path: Path) -> None:
    result = _hazgate("classify", tiny_bundle, "--file", tmp_path / "none.jsonl")
    assert result.exit_code == 4
    assert "none.jsonl cannot be read: No such file or directory" in result.stderr


def test_a_file_that_can_be_read_only_once_is_answered_or_refused(tiny_bundle: Path) -> None:
    stdin = _lines({"text": FLAGGED})
    reader, writer = os.pipe()
    os.write(writer, stdin)
    os.close(writer)
    try:
        result = _hazgate("classify", tiny_bundle, "--file", f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    # Anything but silence and success: the text was read by nobody.
    assert result.exit_code == 4 or len(result.stdout.splitlines()) == 1


def test_a_text_that_is_too_long_exits_with_4(tiny_bundle: Path) -> None:
    stdin = _lines({"text": MARKER * 200_000})
    result = _hazgate("classify", tiny_bundle, "-", stdin=stdin)
    assert result.exit_code == 4
    assert "at most 1048576 are taken" in result.stderr
    assert MARKER not in result.stderr


# Failing models


def test_an_inference_error_exits_with_5_and_answers_nothing(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level1", constant_graph([float("nan"), 0]))
    result = _hazgate("classify", bundle_copy, MARKER)
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "not finite" in result.stderr
    assert MARKER not in result.stderr


# info and verify-files


def test_info_describes_a_bundle_and_how_it_was_checked(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    result = _hazgate("info", tiny_bundle)
    assert result.exit_code == 0
    for word in (
        f"tiny: {bundle.manifest.description}",
        bundle.digest,
        "level1 flags at P(unsafe) >= 0.5, then level2",
        "level2: " + ", ".join(HAZARDS),
        "test/tiny-level1",
        "windows of 64 tokens",
        "(default)",
    ):
        assert word in " ".join(result.stdout.split())
    # Where the output goes to a file, nobody can widen the terminal.
    assert "…" not in result.stdout


def test_info_as_json_is_the_manifest_with_its_digest(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    result = _hazgate("info", tiny_bundle, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"digest": bundle.digest, **encode(bundle.manifest)}


def test_info_takes_a_bundles_words_as_they_are_and_not_as_markup(bundle_copy: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["description"] = "[bold]x[/nonsense]"
        data["levels"]["level1"]["base"]["id"] = "[bold]base[/nonsense]"
        data["levels"]["level1"]["family"] = "[bold]family[/nonsense]"
        data["levels"]["level1"]["variants"]["int8"]["scheme"] = "[/nonsense]"

    edit_manifest(bundle_copy, change)
    result = _hazgate("info", bundle_copy)
    assert result.exit_code == 0, result.exception
    for word in ("[bold]x[/nonsense]", "[bold]base[/nonsense]", "[bold]family[/nonsense]"):
        assert word in result.stdout


def test_verify_files_counts_the_files_of_a_whole_bundle(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    result = _hazgate("verify-files", tiny_bundle)
    assert result.exit_code == 0
    assert result.stdout == f"ok: {len(bundle.manifest.files)} files, digest {bundle.digest}\n"


# As a process


def test_a_process_prints_only_json_on_stdout_and_progress_on_stderr(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    texts = [f"{MARKER} {i}" for i in range(5)]
    file = tmp_path / "texts.jsonl"
    file.write_bytes(_lines(*({"text": text, "id": "ä"} for text in texts)))
    done = run_python(
        "-m", "hazgate", "classify", tiny_bundle, "--threads", "1", "--pass-through", "--file", file
    )
    assert done.returncode == 0
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [verdict.pop("input") for verdict in verdicts] == [{"id": "ä"}] * 5
    assert verdicts == _expected(tiny_bundle, *texts)
    assert "5/5" in done.stderr
    assert MARKER not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_process_prints_json_whatever_its_terminal_can_spell(
    tiny_bundle: Path, encoding: str
) -> None:
    done = run_python(
        *("-m", "hazgate", "classify", tiny_bundle, "-", "--pass-through"),
        stdin='{"text": "hello", "id": "你"}'.encode(),
        env={"PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["input"] == {"id": "你"}


def test_a_process_reads_standard_input_and_writes_nothing_to_stderr(tiny_bundle: Path) -> None:
    done = run_python("-m", "hazgate", "classify", tiny_bundle, "-", stdin=_lines({"text": MARKER}))
    assert done.returncode == 0
    assert [json.loads(done.stdout)] == _expected(tiny_bundle, MARKER)
    assert done.stderr == ""


_WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Absent())
from hazgate.__main__ import main
main()
"""


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_its_libraries_the_command_says_what_to_install(package: str) -> None:
    done = run_python("-c", _WITHOUT.format(package=package))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"the command line needs {package}: pip install 'hazgate[cli]'\n"


def test_a_broken_installation_is_not_taken_for_a_missing_extra() -> None:
    done = run_python(
        "-c",
        "import sys; sys.modules['hazgate.cli.rows'] = None\n"
        "from hazgate.__main__ import main\nmain()",
    )
    assert done.returncode == 1
    assert "pip install" not in done.stderr
    assert "hazgate.cli.rows" in done.stderr


def test_a_long_text_is_read_whole_unless_its_beginning_or_nothing_is_asked_for(
    tiny_bundle: Path,
) -> None:
    text = "summer " * 200
    (whole,) = _classify(tiny_bundle, text)
    assert whole["tokens"]["windows"] > 1
    assert whole["tokens"]["read"] == whole["tokens"]["total"]
    (cut,) = _classify(tiny_bundle, text, "--long-texts", "truncate")
    assert cut["truncated"] is True
    assert cut["tokens"]["windows"] == 1
    refused = _hazgate("classify", tiny_bundle, text, "--long-texts", "reject")
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
    (verdict,) = _classify(tiny_bundle, PASSED, "--policy", file)
    assert verdict["flagged"] is True
    assert verdict["decision"]["action"] == "flag"
    assert verdict["decision"]["policy"]["name"] == "toy"
    (lenient,) = _classify(tiny_bundle, PASSED, "--policy", file, "--tenant", "lenient")
    assert lenient["flagged"] is False
    assert lenient["decision"]["policy"]["tenant"] == "lenient"
    (beside,) = _classify(tiny_bundle, PASSED, "--shadow", file)
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
    result = _hazgate("classify", tiny_bundle, PASSED, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_policy_that_is_wrong_exits_with_3(tiny_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text("name = 7", encoding="utf-8")
    result = _hazgate("classify", tiny_bundle, PASSED, "--policy", file)
    assert result.exit_code == 3
    assert "$.gate" in result.stderr


def test_categories_of_another_taxonomy_come_on_demand(tiny_bundle: Path) -> None:
    (verdict,) = _classify(tiny_bundle, FLAGGED, "--taxonomy", "ailuminate")
    assert verdict["categories"]["prv"] == verdict["hazards"]["S9_privacy"]
    result = _hazgate("classify", tiny_bundle, FLAGGED, "--taxonomy", "none-such")
    assert result.exit_code == 4
    assert "ailuminate" in result.stderr
