import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.harness.errors import BenchmarkError
from benchmarks.speed.compare import compare
from benchmarks.speed.results import SpeedResults
from benchmarks.speed.run import command_line, run
from hazgate.bundle.bundle import Bundle
from hazgate.documents.decode import encode
from tests.support.tiny import MAX_TOKENS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured(tiny_recipe: Path, tiny_bundle: Path) -> SpeedResults:
    return compare(tiny_recipe, Bundle.open(tiny_bundle), rounds=1, threads=1, calls=3, command="x")


@pytest.mark.slow
def test_every_system_is_measured_on_every_workload(measured: SpeedResults) -> None:
    systems = [system.name for system in measured.systems]
    assert systems == ["pytorch-adapter", "pytorch-merged", "onnx-fp32", "onnx-int8"]
    assert [w.tokens for w in measured.workloads] == [8, 16, 32, MAX_TOKENS, None, None]
    assert len(measured.rounds) == len(systems) * len(measured.workloads)
    assert all(figures.total_s > 0 for figures in measured.rounds)
    assert all((f.latency is None) == (f.workload == "bulk") for f in measured.rounds)


@pytest.mark.slow
def test_every_system_answers_as_the_reference(measured: SpeedResults) -> None:
    quality = {system.name: system.quality for system in measured.systems}
    assert quality["pytorch-adapter"] is None
    for name in ("pytorch-merged", "onnx-fp32"):
        found = quality[name]
        assert found is not None
        assert found.max_abs_logit_diff < 1e-4
        assert found.decisions_changed == 0


@pytest.mark.slow
def test_each_process_has_memory_size_and_load_time(measured: SpeedResults) -> None:
    for system in measured.systems:
        assert system.peak_rss_bytes >= system.loaded_rss_bytes > 10_000_000
        assert system.size_bytes > 0
        assert system.load_s > 0
    peak = {system.name: system.peak_rss_bytes for system in measured.systems}
    assert peak["onnx-fp32"] < peak["pytorch-merged"]


@pytest.mark.slow
def test_results_name_no_path_of_the_machine(
    measured: SpeedResults, tiny_recipe: Path, tiny_bundle: Path
) -> None:
    text = json.dumps(encode(measured))
    for path in (tiny_recipe.parent, tiny_bundle.parent, ROOT, Path.home()):
        assert str(path) not in text


def test_the_command_shows_the_recipe_without_the_machines_folders() -> None:
    inside = ROOT / "export" / "recipes" / "mini.toml"
    shown = command_line(inside, rounds=5, threads=2)
    assert shown == (
        "python -m benchmarks.speed.run --recipe export/recipes/mini.toml --rounds 5 --threads 2"
    )
    assert "--recipe x.toml " in command_line(Path("/elsewhere/x.toml"), rounds=1, threads=1)


def test_a_bundle_of_other_weights_is_refused(
    tiny_recipe: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tiny_recipe.parent
    text = tiny_recipe.read_text(encoding="utf-8")
    text = text.replace('directory = "base"', f'directory = "{folder / "base"}"')
    for level, other in (("level1", "level2"), ("level2", "level1")):
        text = text.replace(f'directory = "{level}"', f'directory = "{folder / other}"')
    swapped = tmp_path / "swapped.toml"
    swapped.write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=r"other weights .*test/tiny-level1"):
        compare(swapped, Bundle.open(tiny_bundle), rounds=1, threads=1, calls=1, command="x")


def test_a_missing_bundle_is_named_and_writes_nothing(tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    arguments = ["--recipe", str(tiny_recipe), "--bundle", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(run, arguments)
    assert result.exit_code == 1
    assert "is not a bundle" in result.output
    assert not out.exists()
