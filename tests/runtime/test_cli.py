"""The command line: usage, bundles that cannot be served, processes, exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

import hazgate
from hazgate import Bundle
from hazgate.documents.decode import encode
from tests.support.command_line import MARKER, lines_of, printed, run
from tests.support.damage import edit_manifest, flip_byte, replace_graph
from tests.support.graphs import constant_graph
from tests.support.processes import run_python
from tests.support.tiny import HAZARDS, SHARED_WEIGHTS

UNSAFE, SAFE = constant_graph([-9, 9]), constant_graph([9, -9])


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
    result = run("classify", tiny_bundle, *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_a_command_without_a_bundle_is_wrong_usage(command: str) -> None:
    assert run(command).exit_code == 2


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_help_has_an_example_of_each_command(command: str, option: str) -> None:
    result = run(command, option)
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert f"hazgate {command} build/mini" in result.stdout


def test_help_tells_commands_and_exit_codes() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("classify", "info", "verify-files", "Exit codes", "3 bundle", "4 input"):
        assert word in " ".join(result.stdout.split())


def test_the_version_is_the_packages() -> None:
    assert run("--version").stdout.strip().endswith(hazgate.__version__)


# Bundles that cannot be served


@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_a_damaged_bundle_exits_with_3_and_names_the_file(bundle_copy: Path, command: str) -> None:
    flip_byte(bundle_copy / SHARED_WEIGHTS)
    text = ["hello"] if command == "classify" else []
    result = run(command, bundle_copy, *text)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert f"{SHARED_WEIGHTS}: SHA-256 differs" in result.stderr


@pytest.mark.parametrize("command", ["classify", "info", "verify-files"])
def test_no_bundle_exits_with_3(tmp_path: Path, command: str) -> None:
    text = ["hello"] if command == "classify" else []
    result = run(command, tmp_path / "none", *text)
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
    result = run("classify", tiny_bundle, "hello", option, value)
    assert result.exit_code == 3
    assert said in result.stderr


def test_a_provider_of_no_known_name_exits_with_3_and_those_that_are(tiny_bundle: Path) -> None:
    result = run("classify", tiny_bundle, "hello", "--provider", "NoSuchExecutionProvider")
    assert result.exit_code == 3
    assert "known are migraphx, rocm" in result.stderr


# Failing models


def test_an_inference_error_exits_with_5_and_answers_nothing(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level1", constant_graph([float("nan"), 0]))
    result = run("classify", bundle_copy, MARKER)
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "not finite" in result.stderr
    assert MARKER not in result.stderr


# info and verify-files


def test_info_describes_a_bundle_and_how_it_was_checked(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    result = run("info", tiny_bundle)
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
    result = run("info", tiny_bundle, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"digest": bundle.digest, **encode(bundle.manifest)}


def test_info_takes_a_bundles_words_as_they_are_and_not_as_markup(bundle_copy: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        data["description"] = "[bold]x[/nonsense]"
        data["levels"]["level1"]["base"]["id"] = "[bold]base[/nonsense]"
        data["levels"]["level1"]["family"] = "[bold]family[/nonsense]"
        data["levels"]["level1"]["variants"]["int8"]["scheme"] = "[/nonsense]"

    edit_manifest(bundle_copy, change)
    result = run("info", bundle_copy)
    assert result.exit_code == 0, result.exception
    for word in ("[bold]x[/nonsense]", "[bold]base[/nonsense]", "[bold]family[/nonsense]"):
        assert word in result.stdout


def test_verify_files_counts_the_files_of_a_whole_bundle(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    result = run("verify-files", tiny_bundle)
    assert result.exit_code == 0
    assert result.stdout == f"ok: {len(bundle.manifest.files)} files, digest {bundle.digest}\n"


# As a process


def test_a_process_prints_only_json_on_stdout_and_progress_on_stderr(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    texts = [f"{MARKER} {i}" for i in range(5)]
    file = tmp_path / "texts.jsonl"
    file.write_bytes(lines_of(*({"text": text, "id": "ä"} for text in texts)))
    done = run_python(
        "-m", "hazgate", "classify", tiny_bundle, "--threads", "1", "--pass-through", "--file", file
    )
    assert done.returncode == 0
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [verdict.pop("input") for verdict in verdicts] == [{"id": "ä"}] * 5
    assert verdicts == printed(tiny_bundle, *texts)
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
    done = run_python(
        "-m", "hazgate", "classify", tiny_bundle, "-", stdin=lines_of({"text": MARKER})
    )
    assert done.returncode == 0
    assert [json.loads(done.stdout)] == printed(tiny_bundle, MARKER)
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
