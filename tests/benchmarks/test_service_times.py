"""What hazgate's wheel knows of models is what the committed results say."""

import shutil
from pathlib import Path

import pytest

from benchmarks.harness.errors import ResultsError
from benchmarks.harness.store import RESULTS
from benchmarks.plan.service_times import service_times
from hazgate.documents.files import json_bytes
from hazgate.gate import Gate
from hazgate_scale.capacity.times import PACKAGED, ServiceTimes, packaged_models, parse_times

SOURCES = (
    "mini",
    "engines-mini",
    "engines-full",
    "engines-long",
    "load-mini",
    "footprint-mini",
    "footprint-full",
)


def test_the_service_times_of_the_wheel_are_made_of_the_committed_results() -> None:
    made = service_times(RESULTS)
    assert sorted(made) == packaged_models()
    for name, times in made.items():
        assert (PACKAGED / f"{name}.json").read_bytes() == json_bytes(times)


def test_what_is_made_is_valid() -> None:
    for name, times in service_times(RESULTS).items():
        assert parse_times(json_bytes(times), name) == times


def test_rows_and_windows_are_those_of_the_bundle_that_was_measured(mini_bundle: Path) -> None:
    gate = Gate.open(mini_bundle, threads=1)
    times = ServiceTimes.of_model("mini")
    spec = gate.level1.spec.tokenizer
    assert times.windows.window_tokens == spec.window_tokens
    assert times.windows.overlap_tokens == spec.overlap_tokens
    assert times.windows.close_tokens == spec.close_tokens
    n_special = spec.window_tokens - gate.level1.tokenizer.window_tokens
    assert times.windows.special_tokens == n_special
    for name, variant in gate.level1.spec.variants.items():
        assert times.variants[name].batching == variant.batching


@pytest.mark.parametrize("name", SOURCES)
def test_missing_results_are_named(name: str, tmp_path: Path) -> None:
    for source in SOURCES:
        if source != name:
            shutil.copy(RESULTS / f"{source}.json", tmp_path)
    with pytest.raises(ResultsError, match=rf"{name}\.json is missing"):
        service_times(tmp_path)
