"""Labelled rows are read strictly, and everything wrong with a file is said at once."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from hazgate import InputError
from hazgate_evaluation.rows import read_labelled
from hazgate_evaluation.run import sample_rows
from hazgate_evaluation.truth import check_both_classes, truth_of
from tests.support.labelled import NAMES, truth, write_rows

MARKER = "unrepeatable"
GOOD: dict[str, Any] = {"text": MARKER, "level1": "unsafe", "level2": "S7_hate"}


def _refusal(file: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_labelled(file, NAMES)
    assert MARKER not in str(caught.value)
    return str(caught.value)


def test_a_row_is_what_its_line_says(tmp_path: Path) -> None:
    full = {**GOOD, "lang": "de", "source": "ours", "group": "g", "level1_ok": True, "id": [7]}
    file = write_rows(tmp_path / "rows.jsonl", [full])
    dataset = read_labelled(file, NAMES)
    (row,) = dataset.rows
    assert (row.number, row.text, row.level1, row.level2) == (1, MARKER, "unsafe", "S7_hate")
    assert (row.lang, row.source, row.group) == ("de", "ours", "g")
    assert dataset.name == "rows.jsonl"
    assert dataset.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\xef\xbb\xbf\n" + json.dumps(GOOD).encode() + b"\r\n \n" + b"\n")
    assert [row.number for row in read_labelled(file, NAMES).rows] == [2]


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    text = "a\u2028b\x0bc\x85d"
    file.write_text(json.dumps({**GOOD, "text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [row.text for row in read_labelled(file, NAMES).rows] == [text]


def test_a_row_that_is_not_ok_for_level1_keeps_its_hazard_alone(tmp_path: Path) -> None:
    row = {**GOOD, "level1": "safe", "level1_ok": False}
    (read,) = read_labelled(write_rows(tmp_path / "rows.jsonl", [row]), NAMES).rows
    assert (read.level1, read.level2) == (None, "S7_hate")


def test_a_row_without_a_group_is_a_group_of_its_own(tmp_path: Path) -> None:
    rows = [GOOD, GOOD, {**GOOD, "group": "g"}, {**GOOD, "group": "g"}]
    dataset = read_labelled(write_rows(tmp_path / "rows.jsonl", rows), NAMES)
    first, second, third, fourth = truth_of(dataset.rows, NAMES).group.tolist()
    assert len({first, second, third}) == 3
    assert third == fourth


BAD = {
    "not JSON": b"not json " + MARKER.encode(),
    "not UTF-8": b'{"text": "\xff"}',
    "expected an object, got list": b'["unrepeatable"]',
    "a field is given twice": b'{"text": "unrepeatable", "text": "unrepeatable"}',
    "expected a string field text": b'{"text": ["unrepeatable"], "level1": null, "level2": null}',
    "lone surrogate": b'{"text": "unrepeatable\\ud800", "level1": null, "level2": null}',
    "level1 is missing": b'{"text": "unrepeatable", "level2": null}',
    "level2 is missing": b'{"text": "unrepeatable", "level1": null}',
    "level1 is not a label": b'{"text": "unrepeatable", "level1": "toxic", "level2": null}',
    "level2 is not a label": b'{"text": "unrepeatable", "level1": null, "level2": "S99"}',
    "level1 must be a label or null, got bool": b'{"text": "x", "level1": true, "level2": null}',
    "level2 names a hazard although level1 is safe": (
        b'{"text": "unrepeatable", "level1": "safe", "level2": "S7_hate"}'
    ),
    "group must be a string or null, got int": (
        b'{"text": "x", "level1": null, "level2": null, "group": 7}'
    ),
    "level1_ok must be true or false": (
        b'{"text": "x", "level1": null, "level2": null, "level1_ok": null}'
    ),
    "text is longer than 1048576 bytes": (
        b'{"text": "' + b"x" * (1 << 20) + b'x", "level1": null, "level2": null}'
    ),
}


@pytest.mark.parametrize("said", BAD)
def test_a_bad_line_is_named_by_its_number_and_its_fault(tmp_path: Path, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(json.dumps(GOOD).encode() + b"\n" + BAD[said] + b"\n")
    message = _refusal(file)
    assert "1 bad line" in message
    assert "line 2: " in message
    assert said in message


def test_all_bad_lines_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n".join(BAD.values()))
    message = _refusal(file)
    for number, said in enumerate(BAD, start=1):
        (line,) = (each for each in message.splitlines() if f"- line {number}: " in each)
        assert said in line


def test_a_file_of_another_kind_names_some_lines_and_counts_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"id,text\n" * 1000)
    message = _refusal(file)
    assert "1000 bad lines" in message
    assert "and 980 more" in message
    assert len(message.splitlines()) < 30


def test_unknown_labels_are_counted_beside_those_that_there_are(tmp_path: Path) -> None:
    rows = [{**GOOD, "level2": label} for label in ("S99", "S99", "S100")]
    message = _refusal(write_rows(tmp_path / "rows.jsonl", rows))
    assert "unknown labels in level2: 'S99' (2 lines), 'S100' (1 lines)" in message
    assert "S13_misinformation" in message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b"\n \n")
    assert "has no rows" in _refusal(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in _refusal(tmp_path / "none.jsonl")


@pytest.mark.parametrize("unsafe", [[True, True], [False, None], [None, None]])
def test_one_class_is_refused(unsafe: list[bool | None]) -> None:
    with pytest.raises(InputError, match="both classes"):
        check_both_classes(truth(unsafe))


def test_a_sample_keeps_the_order_and_the_file(tmp_path: Path) -> None:
    rows = [{**GOOD, "text": str(i)} for i in range(50)]
    dataset = read_labelled(write_rows(tmp_path / "rows.jsonl", rows), NAMES)
    drawn = sample_rows(dataset, 20)
    numbers = [row.number for row in drawn.rows]
    assert len(numbers) == 20
    assert numbers == sorted(set(numbers))
    assert numbers != list(range(1, 21))
    assert (drawn.sha256, drawn.n_rows_in_file) == (dataset.sha256, 50)
    assert sample_rows(dataset, 20) == drawn
    assert sample_rows(dataset, 99) is dataset
