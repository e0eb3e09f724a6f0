"""A file of a report is written whole or not at all."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from hazgate.documents.files import json_bytes, write_atomically


@dataclass(frozen=True)
class _Figure:
    value: float


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(b"old")
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_written_file_has_the_rights_of_any_other(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(mask)


def test_an_interruption_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_json_has_neither_nan_nor_infinity() -> None:
    assert json.loads(json_bytes(_Figure(0.5))) == {"value": 0.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes(_Figure(float("nan")))
