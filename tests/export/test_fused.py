"""Graphs of hazgate-kernels' operators: near PyTorch, and the same to the last bit anywhere."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import BundleError
from hazgate.doctor import diagnose
from hazgate.engine import kernels
from hazgate.engine.options import EngineOptions
from hazgate.engine.session import OrtSession
from hazgate.text.batching import pad
from hazgate_export import build as build_module
from hazgate_export.author.families import (
    BalancedWeights,
    write_fused,
    write_int8,
)
from hazgate_export.build import build
from hazgate_export.errors import RecipeError
from hazgate_export.graphs.inspect_graph import summarise
from hazgate_export.model.sources import LocalSources
from hazgate_export.proof.int8_activations import write_cheapest_int8
from hazgate_export.proof.subject import Subject
from hazgate_export.recipe import ParityLimits
from hazgate_export.recipe_file import load_recipe
from tests.support.balanced import OPSET, balanced_family
from tests.support.families import AUTHORED, LEVELS, build_family
from tests.support.recipes import FUSED_VARIANT
from tests.support.subjects import judge_graph
from tests.support.tiny import write_quick_recipe

pytest.importorskip("hazgate_kernels", reason="built only where there is a C++ compiler")

N_LABELS = len(LEVELS["level2"])
# Around a window of 8 to each side and around the 12 queries that are computed at a time.
LENGTHS = (1, 2, 7, 8, 9, 12, 13, 17, 33, 64, 129, 250)
LOOSE = ParityLimits(max_abs_logit_diff=99, max_changed_share=0.99, max_invariance_diff=1e-12)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Balanced:
    """A family's small model, balanced, and its own answers."""

    weights: BalancedWeights
    subject: Subject

    def write(self, folder: Path, error: float = 0.05) -> Path:
        file = folder / "fused.onnx"
        write_fused(self.weights, file, OPSET, error=error)
        return file

    def difference(self, file: Path) -> tuple[float, float]:
        """Give the greatest logit difference, and the most that neighbours and padding move."""
        parity = judge_graph(self.subject, file, LOOSE, kind="fused", batching="packed")
        return parity.max_abs_logit_diff, parity.max_invariance_diff


def _session(file: Path, *, threads: int = 1) -> OrtSession:
    return OrtSession(file, kind="fused", n_labels=N_LABELS, threads=threads)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Balanced]:
    made: dict[str, Balanced] = {}

    def get(name: str) -> Balanced:
        if name not in made:
            one = balanced_family(tmp_path_factory.mktemp(name), name, LENGTHS)
            made[name] = Balanced(weights=one.weights, subject=one.subject)
        return made[name]

    return get


@pytest.mark.parametrize("family", AUTHORED)
def test_a_fused_graph_is_close_to_pytorch_and_moves_by_nothing(
    subject: Callable[[str], Balanced], tmp_path: Path, family: str
) -> None:
    one = subject(family)
    difference, moved = one.difference(one.write(tmp_path))
    scale = float(np.abs(one.subject.heads[0].reference).max())
    assert 0 < difference < 0.1 * scale
    assert moved == 0


@pytest.mark.parametrize("family", AUTHORED)
def test_sixteen_bits_where_eight_err_bring_it_closer(
    subject: Callable[[str], Balanced], tmp_path: Path, family: str
) -> None:
    one = subject(family)
    differences = [one.difference(one.write(tmp_path, error))[0] for error in (9.0, 0.0)]
    assert differences[1] < differences[0]


def test_the_cheapest_graph_that_keeps_the_limits_is_written(
    subject: Callable[[str], Balanced], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, file = subject("bert"), tmp_path / "cheapest.onnx"

    def write(most: float) -> Mapping[str, int]:
        limits = LOOSE.model_copy(update={"max_abs_logit_diff": most})
        return write_cheapest_int8(one.weights, "fused", file, OPSET, one.subject, limits).counts

    fastest, careful = (
        write_fused(one.weights, tmp_path / "one.onnx", OPSET, error=e) for e in (0.1, 0)
    )
    assert fastest != careful
    assert write(99) == fastest
    difference, _ = one.difference(file)
    assert "missed at" not in capsys.readouterr().err
    # A limit that this graph just misses, and one that none keeps.
    write(0.99 * difference)
    assert one.difference(file)[0] <= 0.99 * difference
    assert "missed at" in capsys.readouterr().err
    assert write(0) == careful
    assert capsys.readouterr().err.count("missed at") == 7


@pytest.mark.parametrize("family", AUTHORED)
@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(len(LENGTHS))), n_rows=st.integers(1, 6), data=st.data())
def test_a_text_is_the_same_to_the_last_bit_in_any_batch_and_on_any_threads(
    subject: Callable[[str], Balanced],
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    order: list[int],
    n_rows: int,
    data: st.DataObject,
) -> None:
    one = subject(family)
    file = one.write(tmp_path_factory.mktemp("batch"))
    several, single = (_session(file, threads=threads) for threads in (3, 1))
    chosen = [one.subject.cases[i].input_ids for i in order[:n_rows]]
    together = several.run(*pad(chosen, 0))
    for row, ids in zip(together, chosen, strict=True):
        np.testing.assert_array_equal(row, single.run(*pad([ids], 0))[0])


@pytest.mark.parametrize("family", AUTHORED)
def test_a_layer_is_five_operators_and_shares_int8_weights_with_the_plain_graph(
    subject: Callable[[str], Balanced], tmp_path: Path, family: str
) -> None:
    one = subject(family)
    file = one.write(tmp_path)
    counts = summarise(file).operators
    assert counts["hazgate.Linear"] == 4 * counts["hazgate.Attention"]
    assert "If" not in counts
    write_int8(one.weights, tmp_path / "int8.onnx", OPSET, static_error=9.0, int8_error=9.0)
    fused, plain = (
        {t.raw_data for t in onnx.load(f).graph.initializer if t.data_type == onnx.TensorProto.INT8}
        for f in (file, tmp_path / "int8.onnx")
    )
    assert fused
    assert fused <= plain


def test_without_the_kernels_a_fused_graph_is_refused_with_the_cure(
    subject: Callable[[str], Balanced], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = subject("bert").write(tmp_path)
    monkeypatch.setitem(sys.modules, "hazgate_kernels", None)
    with pytest.raises(BundleError, match=r"Install hazgate\[fast\]"):
        _session(file)


def test_a_library_that_is_none_is_refused(
    subject: Callable[[str], Balanced], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = subject("bert").write(tmp_path)
    broken = tmp_path / "libhazgate_kernels.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr("hazgate.engine.session.kernels_library", lambda: broken)
    with pytest.raises(BundleError, match="cannot be loaded"):
        _session(file)


def test_a_build_without_the_kernels_leaves_the_fused_variant_out_and_says_so(
    tiny_recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = write_quick_recipe(tiny_recipe, tmp_path / "quick.toml", more_variants=FUSED_VARIANT)
    monkeypatch.setattr(build_module, "instruction_set", lambda: None)
    built = build(load_recipe(recipe), tmp_path / "bundle", LocalSources())
    assert "cpu-fused" not in built.bundle.manifest.levels["level1"].variants
    assert "cpu-fused: left out" in capsys.readouterr().err
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(
        text.replace('default_variant = "fp32"', 'default_variant = "cpu-fused"'), encoding="utf-8"
    )
    with pytest.raises(RecipeError, match="default_variant is cpu-fused"):
        build(load_recipe(recipe), tmp_path / "other", LocalSources())


def test_the_doctor_says_which_kernels_a_fused_variant_runs_on(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build_family(tmp_path_factory, "bert").bundle.root
    well = diagnose(root, EngineOptions(variant="cpu-fused"))
    assert well.healthy, well
    said = {check.name: check.found for check in well.checks}
    assert str(kernels.instruction_set()) in said["kernels"]
    assert "kernels" not in {c.name for c in diagnose(root, EngineOptions(variant="cpu")).checks}
    monkeypatch.setitem(sys.modules, "hazgate_kernels", None)
    ill = diagnose(root, EngineOptions(variant="cpu-fused"))
    assert "Install hazgate[fast]" in {c.name: c.found for c in ill.checks}["kernels"]
    assert not ill.healthy


def test_what_is_not_installed_is_not_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels.instruction_set.cache_clear()
    monkeypatch.setitem(sys.modules, "hazgate_kernels", None)
    try:
        assert kernels.instruction_set() is None
        assert not kernels.has_fast_kernels()
    finally:
        kernels.instruction_set.cache_clear()
