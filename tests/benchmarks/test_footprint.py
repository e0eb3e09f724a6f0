"""Each start is measured in a process of its own; sizes count a variant's own files."""

from pathlib import Path

import pytest

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.store import load, save
from benchmarks.memory.footprint import Footprint, footprint_table, measure_footprint
from hazgate.bundle.bundle import Bundle


def test_a_start_is_measured_and_shown(tiny_bundle: Path, tmp_path: Path) -> None:
    found = measure_footprint(tiny_bundle, ["int8"], starts=1, threads=1, command="make toy")
    save(found, tmp_path / "footprint.json")
    assert load(Footprint, tmp_path / "footprint.json") == found
    (variant,) = found.variants
    assert 0 < variant.import_s.median < variant.first_verdict_s.median
    assert 0 < variant.anonymous_bytes.median < variant.rss_bytes.median
    assert variant.rss_bytes.median <= variant.peak_rss_bytes.median
    assert "| hazgate int8 |" in footprint_table(found)


def test_a_variants_size_excludes_files_of_other_variants(tiny_bundle: Path) -> None:
    files = Bundle.open(tiny_bundle).manifest.files
    found = measure_footprint(tiny_bundle, ["int8", "fp32"], starts=1, threads=1, command="")
    whole = sum(file.size_bytes for file in files.values())
    int8, fp32 = found.variants
    assert 0 < int8.size_bytes < whole
    assert 0 < fp32.size_bytes < whole


def test_a_start_that_fails_says_why(bundle_copy: Path) -> None:
    with pytest.raises(WorkerFailed, match=r"start of missing: .*no variant 'missing'"):
        measure_footprint(bundle_copy, ["missing"], starts=1, threads=1, command="")
