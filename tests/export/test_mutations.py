"""Parity can fail: its limits catch each classic mistake of a ModernBERT export."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from transformers import PreTrainedModel

from hazgate_export.graphs.convert import export_onnx
from hazgate_export.model.load import load_with_adapter
from hazgate_export.model.merge import load_adapted, merge
from hazgate_export.model.sources import Fetched, LocalSources, fetch_levels
from hazgate_export.parity import Parity
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.subject import Subject
from hazgate_export.recipe_file import load_recipe
from tests.support.families import LEVELS, write_family
from tests.support.subjects import judge_graph, random_cases, subject_of

LABELS = LEVELS["level2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    base: Fetched
    adapter: Fetched
    recipe: Path
    subject: Subject

    def merged(self) -> PreTrainedModel:
        recipe = load_recipe(self.recipe).recipe.base
        return merge(load_adapted(self.base, self.adapter, recipe, LABELS))

    def judge(self, graph: Path) -> Parity:
        return judge_graph(self.subject, graph, kind="portable", batching="padded", threads=1)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("mutations")
    _, recipe = write_family(folder, "modernbert")
    loaded = load_recipe(recipe)
    sources = fetch_levels(loaded, ["level2"], LocalSources(), folder / "sources")["level2"]
    lengths = (1, 2, 8, 9, 10, 17, 18, 33, 64, 129)
    cases = random_cases(lengths, seed=7, vocabulary=6000, each=3)
    adapted = load_with_adapter(sources, loaded.recipe, "level2")
    assert sources.adapter is not None
    return Exported(
        base=sources.base,
        adapter=sources.adapter,
        recipe=recipe,
        subject=subject_of(cases, torch_logits(adapted, cases, "reference")),
    )


def test_the_honest_export_passes(subject: Exported, tmp_path: Path) -> None:
    export_onnx(subject.merged(), tmp_path / "graph.onnx", 18)
    assert subject.judge(tmp_path / "graph.onnx").passed


def _window(model: PreTrainedModel, half: int) -> None:
    model.config.local_attention = 2 * half
    for layer in model.model.layers:
        if layer.attn.local_attention != (-1, -1):
            layer.attn.local_attention = (half, half)


def _all_global(model: PreTrainedModel) -> None:
    _window(model, 4096)


def _all_local(model: PreTrainedModel) -> None:
    for layer in model.model.layers:
        layer.attn.local_attention = (8, 8)


def _wrong_pooling(model: PreTrainedModel) -> None:
    model.config.classifier_pooling = "cls"


def _labels_swapped(model: PreTrainedModel) -> None:
    with torch.no_grad():
        for name in ("classifier.weight", "classifier.bias"):
            parameter = model.get_parameter(name)
            parameter[[0, 1]] = parameter[[1, 0]].clone()


def _glu_halves_swapped(model: PreTrainedModel) -> None:
    with torch.no_grad():
        for layer in model.model.layers:
            first, second = layer.mlp.Wi.weight.chunk(2)
            layer.mlp.Wi.weight.copy_(torch.cat([second, first]))


def _tanh_gelu(model: PreTrainedModel) -> None:
    for layer in model.model.layers:
        layer.mlp.act = torch.nn.GELU(approximate="tanh")


def _rope_theta(model: PreTrainedModel) -> None:
    for layer in model.model.layers:
        layer.attn.rotary_emb.inv_freq = layer.attn.rotary_emb.inv_freq**0.77


def _no_final_norm(model: PreTrainedModel) -> None:
    model.model.final_norm = torch.nn.Identity()


def _no_embedding_norm(model: PreTrainedModel) -> None:
    model.model.embeddings.norm = torch.nn.Identity()


def _halved_lora(subject: Exported, model: PreTrainedModel) -> None:
    """As a merge that forgets alpha / r = 2 would leave the weights."""
    plain = load_adapted(
        subject.base, subject.adapter, load_recipe(subject.recipe).recipe.base, LABELS
    ).unload()
    with torch.no_grad():
        for merged, base in zip(model.parameters(), plain.parameters(), strict=True):
            merged.copy_((merged + base) / 2)


MUTATIONS: dict[str, Callable[[PreTrainedModel], None]] = {
    "window one too narrow": lambda model: _window(model, 7),
    "window one too wide": lambda model: _window(model, 9),
    "all layers global": _all_global,
    "all layers local": _all_local,
    "cls instead of mean pooling": _wrong_pooling,
    "labels swapped": _labels_swapped,
    "GLU halves swapped": _glu_halves_swapped,
    "tanh instead of erf GELU": _tanh_gelu,
    "other RoPE theta": _rope_theta,
    "final norm missing": _no_final_norm,
    "embedding norm missing": _no_embedding_norm,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_model_misses_the_gate(subject: Exported, tmp_path: Path, name: str) -> None:
    model = subject.merged()
    MUTATIONS[name](model)
    export_onnx(model, tmp_path / "graph.onnx", 18)
    assert not subject.judge(tmp_path / "graph.onnx").passed


def test_a_missing_lora_scale_misses_the_gate(subject: Exported, tmp_path: Path) -> None:
    model = subject.merged()
    _halved_lora(subject, model)
    export_onnx(model, tmp_path / "graph.onnx", 18)
    assert not subject.judge(tmp_path / "graph.onnx").passed


def test_ignored_padding_misses_the_gate_although_texts_alone_agree(
    subject: Exported, tmp_path: Path
) -> None:
    file = tmp_path / "graph.onnx"
    export_onnx(subject.merged(), file, 18)
    graph = onnx.load(file)
    for node in graph.graph.node:
        node.input[:] = ["ones" if name == "attention_mask" else name for name in node.input]
    ones = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph.graph.node.insert(0, helper.make_node("Shape", ["attention_mask"], ["mask_shape"]))
    graph.graph.node.insert(
        1, helper.make_node("ConstantOfShape", ["mask_shape"], ["ones"], value=ones)
    )
    mutant = tmp_path / "mutant.onnx"
    onnx.save(graph, mutant)
    parity = subject.judge(mutant)
    assert not parity.passed
    assert parity.max_invariance_diff > 1e-4
