"""The packaged service times fit the bundle, and name results that are missing."""

import shutil
from pathlib import Path

import pytest

from benchmarks.harness.errors import ResultsError
from benchmarks.harness.store import RESULTS
from benchmarks.plan.service_times import service_times
from hazgate.engine.options import EngineOptions
from hazgate.gate import Gate
from hazgate_scale.capacity.times import ServiceTimes

SOURCES = (
    "mini",
    "engines-mini",
    "engines-full",
    "engines-long",
    "load-mini",
    "footprint-mini",
    "footprint-full",
)


def test_batches_and_windows_are_those_of_the_measured_bundle(mini_bundle: Path) -> None:
    gate = Gate.open(mini_bundle, engine=EngineOptions(threads=1))
    times = ServiceTimes.of_model("mini")
    spec = gate.level1.spec.tokenizer
    assert times.windows.window_tokens == spec.window_tokens
    assert times.windows.overlap_tokens == spec.overlap_tokens
    assert times.windows.close_tokens == spec.close_tokens
    assert times.windows.sentences_from_tokens == spec.sentences_from_tokens
    n_special = spec.window_tokens - gate.level1.tokenizer.window_tokens
    assert times.windows.special_tokens == n_special
    plain = {n: v for n, v in gate.level1.spec.variants.items() if v.exits is None}
    assert plain
    for name, variant in plain.items():
        assert times.variants[name].batching == variant.batching


@pytest.mark.parametrize("name", SOURCES)
def test_missing_results_are_named(name: str, tmp_path: Path) -> None:
    for source in SOURCES:
        if source != name:
            shutil.copy(RESULTS / f"{source}.json", tmp_path)
    with pytest.raises(ResultsError, match=rf"{name}\.json is missing"):
        service_times(tmp_path)
