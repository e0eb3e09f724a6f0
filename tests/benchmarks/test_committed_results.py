"""The committed results keep the project's promises, and the pages show them.

Run by `make check-results`; a new measurement may fail here without any fault of the code.
"""

from pathlib import Path

import pytest

from benchmarks.harness.store import RESULTS, load
from benchmarks.load.results import LoadResults
from benchmarks.load.systems import load_specs
from benchmarks.plan.plots import FleetPlots, draw, plots_table
from benchmarks.plan.results import LIMIT, FleetResults, fleet_figure, fleet_table
from benchmarks.plan.service_times import service_times
from benchmarks.quality.agreement import AgreementResults, agreement_text
from benchmarks.quality.languages import LanguageResults, VouchedCounts
from benchmarks.quality.thresholds import ThresholdResults, streams_table, thresholds_table
from benchmarks.readme import fill, regions
from benchmarks.speed.results import SpeedResults
from hazgate.documents.files import json_bytes
from hazgate_scale.capacity.times import PACKAGED, ServiceTimes, packaged_models, parse_times

pytestmark = pytest.mark.results

ROOT = Path(__file__).parents[2]
# A decision in three hundred, of the fused variant.
MOST_CHANGED = 0.003
# The askers are on the same processors and take a share of them.
LIMIT_WITH_ASKERS = 0.25


@pytest.fixture(scope="module")
def fleet() -> FleetResults:
    return load(FleetResults, RESULTS / "fleet-mini.json")


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "benchmarks/README.md",
        "runtime/evaluation/THRESHOLDS.md",
        "runtime/SERVING.md",
        "runtime/AMD.md",
        "runtime/scale/capacity.md",
        "runtime/scale/corpus.md",
        "runtime/kernels/FAST.md",
    ],
)
def test_a_page_is_up_to_date(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert fill(text, regions(RESULTS)) == text


def test_the_fused_variant_changes_few_decisions_of_many_texts() -> None:
    results = load(AgreementResults, RESULTS / "agreement-mini.json")
    fused = [one for one in results.agreements if one.variant == "int8-fused"]
    assert {one.level for one in fused} == {"level1", "level2"}
    for one in fused:
        assert one.n_texts > 3000
        assert one.decisions_changed <= MOST_CHANGED * one.n_texts
        assert f"{one.decisions_changed} of {one.n_texts}" in agreement_text(results)


def test_few_texts_in_vouched_languages_are_marked_and_most_others_are() -> None:
    mini, multilingual = load(LanguageResults, RESULTS / "languages.json").recipes
    assert _marked_share(mini, "en") <= 0.01
    assert _marked_share(mini, "de") >= 0.95
    assert _marked_share(mini, "zh") >= 0.95
    # Of Hindi, most rows are in Latin letters.
    for language in set(multilingual.vouched) - {"hi"}:
        assert _marked_share(multilingual, language) <= 0.01
    assert mini.n_code_marked <= 0.01 * mini.n_code


def _marked_share(counts: VouchedCounts, language: str) -> float:
    own = [each for each in counts.counts if each.language == language]
    return sum(each.n_marked for each in own) / sum(each.n_texts for each in own)


def test_the_policys_rate_on_new_texts_has_its_target_in_the_interval() -> None:
    results = load(ThresholdResults, RESULTS / "thresholds-mini.json")
    _, policy = results.operated
    assert policy.flags.false_positive_rate is not None
    interval = policy.flags.false_positive_rate
    assert interval.low <= results.target.value <= interval.high
    assert f"{interval.value:.3f} [{interval.low:.3f}–" in thresholds_table(results)
    assert f"| unsafe | {results.streams.unsafe.n_texts} |" in streams_table(results)


def test_the_figures_of_make_bench_are_predicted_within_the_promise(fleet: FleetResults) -> None:
    assert fleet.bench_error <= LIMIT


def test_workers_with_a_processor_each_are_predicted_except_for_the_askers_share(
    fleet: FleetResults,
) -> None:
    assert fleet.saturation_error <= LIMIT_WITH_ASKERS


def test_the_plans_check_used_the_packaged_times_and_the_benchs_bundle(
    fleet: FleetResults,
) -> None:
    assert {one.variant for one in fleet.bench} == set(ServiceTimes.of_model("mini").variants)
    bench = load(SpeedResults, RESULTS / "mini.json")
    assert bench.header.digest == fleet.header.digest


def test_the_plans_table_and_figure_show_the_results(fleet: FleetResults, tmp_path: Path) -> None:
    text = fleet_table(fleet)
    assert f"{fleet.bench_error:.0%} of what `make bench` measured" in text
    assert fleet.header.command in text
    fleet_figure(fleet).savefig(tmp_path / "fleet.png")
    assert (tmp_path / "fleet.png").stat().st_size > 0


def test_the_simulations_table_and_figures_show_the_results(tmp_path: Path) -> None:
    results = load(FleetPlots, RESULTS / "fleet-plots.json")
    assert results.header.command in plots_table(results)
    assert all(file.stat().st_size > 0 for file in draw(results, tmp_path))


def test_more_texts_need_more_workers_and_bursts_no_fewer() -> None:
    sizes = load(FleetPlots, RESULTS / "fleet-plots.json").sizes
    by = {(one.rate, one.bound_ms, one.has_bursts): one.n_workers for one in sizes}
    assert by
    for (rate, bound_ms, has_bursts), n_workers in by.items():
        # A search ends within a hundredth.
        assert 0.98 * n_workers <= by[rate, bound_ms, True]
        same = {r: n for (r, b, h), n in by.items() if (b, h) == (bound_ms, has_bursts)}
        assert all(n > n_workers for r, n in same.items() if r > rate)


def test_the_packaged_service_times_are_made_of_the_results() -> None:
    made = service_times(RESULTS)
    assert sorted(made) == packaged_models()
    for name, times in made.items():
        assert (PACKAGED / f"{name}.json").read_bytes() == json_bytes(times)
        assert parse_times(json_bytes(times), name) == times


def test_every_measured_system_can_be_started_again() -> None:
    results = load(LoadResults, RESULTS / "load-mini.json")
    specs = {spec.name: spec for spec in load_specs(results.variant)}
    measured = {system.name: (system.title, system.reads) for system in results.systems}
    assert measured.keys() | results.absent.keys() == specs.keys()
    assert {name: (specs[name].title, specs[name].reads) for name in measured} == measured
