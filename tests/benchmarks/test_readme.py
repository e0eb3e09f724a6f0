from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness.errors import RegionError
from benchmarks.harness.store import save
from benchmarks.readme import fill, readme
from benchmarks.speed.results import SpeedResults

CONTENTS: dict[str, Callable[[], str]] = {"a": lambda: "| new |", "b": lambda: "more\nlines"}


def marked(name: str, body: str = "old") -> str:
    return f"<!-- begin:{name} -->\n{body}\n<!-- end:{name} -->"


def filled(name: str) -> str:
    return marked(name, f"\n{CONTENTS[name]()}\n")


def test_only_regions_change() -> None:
    text = f"# Title\n\n{marked('a')}\n\nbetween\n{marked('b', 'x')}\nafter\n"
    expected = f"# Title\n\n{filled('a')}\n\nbetween\n{filled('b')}\nafter\n"
    assert fill(text, CONTENTS) == expected


def test_an_empty_region_is_filled() -> None:
    assert fill("<!-- begin:a -->\n<!-- end:a -->", CONTENTS) == filled("a")


def test_filling_again_changes_nothing() -> None:
    once = fill(f"x\n{marked('a')}\n{marked('b')}\n", CONTENTS)
    assert fill(once, CONTENTS) == once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no marker at all", "no region"),
        (marked("c"), "line 1: no region 'c'"),
        ("<!-- begin:a -->\n", "begin:a has no end"),
        ("text\n<!-- end:a -->\n", "line 2: end:a without"),
        ("<!-- begin:a -->\n<!-- end:b -->", "line 2: end:b without"),
        (f"<!-- begin:a -->\n{marked('b')}\n<!-- end:a -->", "line 2: begin:b inside of a"),
        (f"{marked('a')}\n{marked('a')}", "line 4: begin:a for the second time"),
    ],
    ids=["none", "unknown", "unclosed", "unopened", "crossed", "nested", "twice"],
)
def test_wrong_regions_are_refused(text: str, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        fill(text, CONTENTS)


def test_check_distinguishes_a_stale_page_from_a_fresh_one(
    comparison: SpeedResults, tmp_path: Path
) -> None:
    save(comparison, tmp_path / "mini.json")
    file = tmp_path / "README.md"
    file.write_text(marked("speed-mini") + "\n", encoding="utf-8")
    arguments = [str(file), "--results", str(tmp_path)]

    assert CliRunner().invoke(readme, [*arguments, "--check"]).exit_code == 1
    assert "old" in file.read_text(encoding="utf-8")
    assert CliRunner().invoke(readme, arguments).exit_code == 0
    assert "hazgate int8" in file.read_text(encoding="utf-8")
    assert CliRunner().invoke(readme, [*arguments, "--check"]).exit_code == 0


def test_missing_results_are_an_error_and_leave_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text(marked("parity-rehearsal"), encoding="utf-8")
    result = CliRunner().invoke(readme, [str(file), "--results", str(tmp_path)])
    assert result.exit_code == 2
    assert "rehearsal.json is missing" in result.output
    assert file.read_text(encoding="utf-8") == marked("parity-rehearsal")
