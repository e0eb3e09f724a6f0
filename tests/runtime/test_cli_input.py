"""Input that `hazgate classify` cannot read is named, and nothing of it is answered."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import FLAGGED, MARKER, PASSED, lines_of, run

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
    good = lines_of({"text": MARKER}).rstrip()
    file = tmp_path / "texts.jsonl"
    file.write_bytes(b"\n".join(BAD_LINES.get(number, good) for number in range(1, 13)))
    result = run("classify", tiny_bundle, "--file", file)
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
    result = run("classify", tiny_bundle, "--file", file)
    assert result.exit_code == 4
    assert "1000 bad lines" in result.stderr
    assert "and 980 more" in result.stderr
    assert len(result.stderr.splitlines()) < 30


def test_a_bad_line_of_standard_input_is_named(tiny_bundle: Path) -> None:
    stdin = lines_of({"text": PASSED}) + BAD_LINES[2]
    result = run("classify", tiny_bundle, "-", stdin=stdin)
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
    result = run("classify", tiny_bundle, "-", stdin=stdin)
    assert result.exit_code == 4
    assert hint in result.stderr


def test_plain_lines_are_texts(tiny_bundle: Path, tmp_path: Path) -> None:
    stdin = "\ufeffone\r\n\n  two\nthrée".encode()
    result = run("classify", tiny_bundle, "-", "--plain", stdin=stdin)
    texts = [run("classify", tiny_bundle, text) for text in ("one", "  two", "thrée")]
    assert result.stdout == "".join(one.stdout for one in texts)
    (tmp_path / "a.txt").write_bytes(stdin)
    assert run("classify", tiny_bundle, "--file", tmp_path / "a.txt", "--plain").stdout == (
        result.stdout
    )
    refused = run("classify", tiny_bundle, "-", "--plain", stdin=b"\xff")
    assert (refused.exit_code, "not UTF-8" in refused.stderr) == (4, True)
    assert run("classify", tiny_bundle, "text", "--plain").exit_code == 2


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
    result = run("classify", tiny_bundle, "--file", tmp_path / "none.jsonl")
    assert result.exit_code == 4
    assert "none.jsonl cannot be read: No such file or directory" in result.stderr


def test_a_file_that_can_be_read_only_once_is_refused(tiny_bundle: Path) -> None:
    stdin = lines_of({"text": FLAGGED})
    reader, writer = os.pipe()
    os.write(writer, stdin)
    os.close(writer)
    try:
        result = run("classify", tiny_bundle, "--file", f"/dev/fd/{reader}")
    finally:
        os.close(reader)
    assert result.exit_code == 4
    assert "can be read only once; pipe it into -" in result.stderr


def test_a_text_that_is_too_long_exits_with_4(tiny_bundle: Path) -> None:
    stdin = lines_of({"text": MARKER * 200_000})
    result = run("classify", tiny_bundle, "-", stdin=stdin)
    assert result.exit_code == 4
    assert "at most 1048576 are taken" in result.stderr
    assert MARKER not in result.stderr
