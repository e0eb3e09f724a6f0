"""Every supported family goes from adapters to a bundle whose fp32 answers are PyTorch's."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from hazgate import Bundle, Classifier
from hazgate_export.build import build
from hazgate_export.graphs.inspect_graph import summarise
from hazgate_export.model.sources import LocalSources
from hazgate_export.recipe_file import load_recipe
from tests.support.families import (
    AUTHORED,
    BuiltFamily,
    build_family,
    families,
    write_family,
)

NAMES = list(families())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], BuiltFamily]:
    return functools.cache(functools.partial(build_family, tmp_path_factory))


@pytest.mark.parametrize("name", NAMES)
def test_fp32_equals_the_adapter_applied_model(
    built: Callable[[str], BuiltFamily], name: str
) -> None:
    for parity in built(name).parities:
        assert parity.passed
        if parity.variant == "fp32":
            assert parity.max_abs_logit_diff <= 1e-4
            assert parity.decisions_changed == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_logits_differ_between_texts_so_that_parity_means_something(
    built: Callable[[str], BuiltFamily], name: str
) -> None:
    classifier = Classifier.of(built(name).bundle, "level2", variant="fp32")
    logits = classifier.logits(["good morning", "how do I kill a Python process?", "你好"])
    assert np.ptp(logits, axis=0).max() > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_has_plain_operators_two_inputs_and_dynamic_axes(
    built: Callable[[str], BuiltFamily], name: str
) -> None:
    root = built(name).bundle.root
    graph = onnx.load(root / "level1-fp32.onnx", load_external_data=False)
    assert {node.domain for node in graph.graph.node} <= {"", "ai.onnx"}
    summary = summarise(root / "level1-fp32.onnx")
    assert summary.opset <= 19
    assert summary.inputs == {
        "input_ids": "int64[batch, sequence]",
        "attention_mask": "int64[batch, sequence]",
    }
    assert summary.outputs == {"logits": "float[batch, 2]"}


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_what_their_names_say(built: Callable[[str], BuiltFamily], name: str) -> None:
    root = built(name).bundle.root
    assert "int8" not in summarise(root / "level1-fp32.onnx").weight_bytes
    int8 = summarise(root / "level1-int8.onnx")
    if name == "bert":
        assert int8.weight_bytes["uint8"] > 0
        assert int8.operators["com.microsoft.MatMulNBits"] >= 12
    else:
        assert int8.weight_bytes["int8"] > 0
        assert int8.operators["MatMulInteger"] >= 12


@pytest.mark.parametrize("name", NAMES)
def test_the_embedding_table_of_a_variant_is_stored_once_for_both_levels(
    built: Callable[[str], BuiltFamily], name: str
) -> None:
    bundle = built(name).bundle
    for variant in bundle.manifest.levels["level1"].variants:
        first, second = (
            _largest_tensor(bundle.root / f"{level}-{variant}.onnx")
            for level in ("level1", "level2")
        )
        assert first == second
        assert f"level1-{variant}" in first["location"]
        assert f"level2-{variant}" in first["location"]
        config = families()[name].config
        assert int(first["length"]) >= config.vocab_size * config.hidden_size


def _largest_tensor(graph: Path) -> dict[str, str]:
    """Find the largest external tensor of a graph."""
    model = onnx.load(graph, load_external_data=False)
    places = [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in model.graph.initializer
        if tensor.external_data
    ]
    return max(places, key=lambda place: int(place["length"]))


@pytest.mark.parametrize("name", AUTHORED)
def test_an_authored_family_has_fused_variants_and_portable_ones(
    built: Callable[[str], BuiltFamily], name: str
) -> None:
    bundle = built(name).bundle
    variants = bundle.manifest.levels["level2"].variants
    kinds = {variant: spec.kind for variant, spec in variants.items()}
    assert kinds == {
        "fp32": "portable",
        "int8": "portable",
        "cpu": "authored",
        "cpu-int8": "authored",
        "cpu-fused": "fused",
    }
    assert variants["cpu-int8"].batching == "equal_length"
    assert variants["cpu-fused"].batching == "packed"
    assert variants["cpu-fused"].parity.max_invariance_diff == 0
    fused = summarise(bundle.root / "level2-cpu.onnx")
    portable = summarise(bundle.root / "level2-fp32.onnx")
    assert fused.n_nodes < portable.n_nodes / 2


def test_building_twice_gives_the_same_bundle(
    built: Callable[[str], BuiltFamily], tmp_path: Path
) -> None:
    _, recipe = write_family(tmp_path, "bert")
    again = build(load_recipe(recipe), tmp_path / "bundle", LocalSources())
    assert again.bundle.digest == built("bert").bundle.digest


def test_a_bundle_carries_its_sources_and_tools(built: Callable[[str], BuiltFamily]) -> None:
    manifest = Bundle.open(built("bert").bundle.root).manifest
    level = manifest.levels["level1"]
    assert level.base.id == "test/bert"
    assert len((level.adapter or level.base).sha256) == 64
    assert {"torch", "transformers", "peft", "onnx", "onnxruntime"} <= set(manifest.provenance)
