"""`hazgate info` and `hazgate doctor` say what early exits claim, and find what is wrong."""

import shutil
from pathlib import Path

import pytest

from hazgate.doctor import Check, diagnose
from hazgate.engine.options import EngineOptions, ExitOptions
from tests.support.command_line import run
from tests.support.damage import edit_manifest
from tests.support.early_spotter import PROBE_FILE, VARIANT, early_exits


def _checks(bundle: Path, variant: str, file: Path | None = None) -> dict[str, Check]:
    options = EngineOptions(variant=variant, threads=1, exits=ExitOptions(file=file))
    return {check.name: check for check in diagnose(bundle, options).checks}


def test_info_says_the_claim_in_words(early_spotter: Path) -> None:
    said = " ".join(run("info", early_spotter).output.split())
    assert "exits early: with 95% confidence, at most 0.50% of the windows that" in said


def test_a_changed_probe_file_is_found_by_its_digest(early_spotter: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(early_spotter, tmp_path / "bundle"))
    (bundle / PROBE_FILE).write_bytes(early_exits(limits=[-4.0, -3.5]).dump())
    answer = run("verify-files", bundle)
    assert answer.exit_code != 0
    assert PROBE_FILE in answer.stderr


def test_doctor_checks_the_claim_and_the_bundles_own_threshold(
    early_spotter: Path, tmp_path: Path
) -> None:
    checks = _checks(early_spotter, VARIANT)
    assert checks["level1 exits"].found == early_exits().claim.in_words()
    assert checks["level1 threshold"].status == "ok"
    assert checks["level1 opens"].status == "ok"
    bundle = Path(shutil.copytree(early_spotter, tmp_path / "bundle"))
    edit_manifest(bundle, lambda data: data["cascade"].update(threshold=0.42))
    warned = _checks(bundle, VARIANT)["level1 threshold"]
    assert warned.status == "warn"
    assert "was not calibrated" in warned.found


@pytest.mark.parametrize(
    ("variant", "name", "expected"),
    [("int8", "probe file", "has none"), (VARIANT, "level1 exits", "is for another graph")],
)
def test_doctor_finds_a_probe_file_that_does_not_fit(
    early_spotter: Path, tmp_path: Path, variant: str, name: str, expected: str
) -> None:
    file = tmp_path / "fitted.json"
    file.write_bytes(early_exits(graph_sha256="f" * 64).dump())
    check = _checks(early_spotter, variant, file)[name]
    assert check.status == "fail"
    assert expected in check.found
