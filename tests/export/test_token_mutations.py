"""Parity of token levels can fail: it catches the classic mistakes of an export of each family."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from transformers import PreTrainedModel

from hazgate.engine.session import OrtSession
from hazgate_export.author.families import bert_weights, modernbert_weights, write_fp32
from hazgate_export.author.models.bert import Bert, read_bert
from hazgate_export.author.models.modernbert import ModernBert, read_modernbert
from hazgate_export.graphs.convert import export_onnx
from hazgate_export.model.architecture import BertArchitecture, ModernBertArchitecture
from hazgate_export.model.load import load_with_adapter
from hazgate_export.model.merge import merge
from hazgate_export.model.settle import settle
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.parity import Parity
from hazgate_export.proof.reference import check_merged, torch_logits
from hazgate_export.proof.subject import Boundary, Head, Subject
from hazgate_export.proof.texts import Case
from hazgate_export.proof.verify import measure
from hazgate_export.recipe_file import load_recipe
from tests.support.families import architecture_of
from tests.support.subjects import EXACT, TOKENIZER
from tests.support.token_models import LABELS, LEVEL, token_config, write_token_adapter

FAMILIES = ("bert", "modernbert")
W = TypeVar("W", bound=Bert | ModernBert)
# Without special tokens, so that every token of these rows counts; longer than a window of 16.
CASES = tuple(
    Case(id=f"{n}-{seed}", is_text=True, input_ids=tuple(
        np.random.default_rng(100 * n + seed).integers(5, 600, size=n).tolist()))
    for n in (1, 2, 9, 17, 40, 64) for seed in range(2)
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Merged:
    family: str
    model: PreTrainedModel
    subject: Subject

    @property
    def weights(self) -> Bert | ModernBert:
        architecture = architecture_of(token_config(self.family))
        if isinstance(architecture, ModernBertArchitecture):
            return read_modernbert(self.model, architecture, per_token=True)
        assert isinstance(architecture, BertArchitecture)
        return read_bert(self.model, architecture, per_token=True)

    def judge(self, file: Path) -> Parity:
        session = OrtSession(file, kind="portable", n_labels=len(LABELS), threads=1, per_token=True)
        (parity,) = measure(self.subject, session, variant="fp32", batching="padded", limits=EXACT)
        return parity

    def judge_weights(self, weights: Bert | ModernBert, folder: Path) -> Parity:
        bound = bert_weights(weights) if isinstance(weights, Bert) else modernbert_weights(weights)
        write_fp32(bound, folder / "graph.onnx", 18)
        session = OrtSession(
            folder / "graph.onnx",
            kind="authored",
            n_labels=len(LABELS),
            threads=1,
            per_token=True,
        )
        (parity,) = measure(self.subject, session, variant="cpu", batching="padded", limits=EXACT)
        return parity


@pytest.fixture(scope="module", params=FAMILIES)
def merged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Merged:
    folder = tmp_path_factory.mktemp(request.param)
    loaded = load_recipe(write_token_adapter(folder, request.param).recipe)
    sources = fetch_levels(loaded, [LEVEL], LocalSources(), folder / "sources")
    recipe = settle(loaded, sources).loaded.recipe
    adapted = load_with_adapter(sources[LEVEL], recipe, LEVEL)
    head = Head(
        level=LEVEL,
        columns=slice(None),
        reference=torch_logits(adapted, CASES, "reference"),
        boundary=Boundary(positive=None, threshold=0.5),
    )
    subject = Subject(
        cases=CASES, tokenizer=TOKENIZER, n_logits=len(LABELS), heads=(head,), per_token=True
    )
    assert head.reference.shape == (sum(len(case.input_ids) for case in CASES), len(LABELS))
    model = merge(adapted)
    check_merged(model, subject)
    return Merged(family=request.param, model=model, subject=subject)


def test_the_honest_graphs_pass(merged: Merged, tmp_path: Path) -> None:
    assert merged.judge_weights(merged.weights, tmp_path).passed
    export_onnx(merged.model, tmp_path / "portable.onnx", 18, per_token=True)
    assert merged.judge(tmp_path / "portable.onnx").passed


def _columns(weights: W) -> W:
    order = [0, 2, 1, 3, 4]
    return dataclasses.replace(
        weights,
        classifier=weights.classifier[:, order],
        classifier_bias=weights.classifier_bias[order],
    )


def _biased(weights: W) -> W:
    return dataclasses.replace(weights, classifier_bias=weights.classifier_bias + np.float32(2e-4))


def test_swapped_tags_miss_the_limits(merged: Merged, tmp_path: Path) -> None:
    assert not merged.judge_weights(_columns(merged.weights), tmp_path).passed


def test_a_bias_that_is_off_by_a_little_misses_the_limits(merged: Merged, tmp_path: Path) -> None:
    assert not merged.judge_weights(_biased(merged.weights), tmp_path).passed


def _behind_logits(file: Path, nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> None:
    """Rename the logits to `honest` and compute others from them."""
    graph = onnx.load(file)
    for node in graph.graph.node:
        node.output[:] = ["honest" if name == "logits" else name for name in node.output]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(
        numpy_helper.from_array(np.array(value), name) for name, value in constants.items()
    )
    onnx.save(graph, file)


def test_tokens_shifted_by_one_miss_the_limits(merged: Merged, tmp_path: Path) -> None:
    file = tmp_path / "graph.onnx"
    export_onnx(merged.model, file, 18, per_token=True)
    nodes = [
        helper.make_node("Slice", ["honest", "one", "many", "axis"], ["rest"]),
        helper.make_node("Slice", ["honest", "zero", "one", "axis"], ["first"]),
        helper.make_node("Concat", ["rest", "first"], ["logits"], axis=1),
    ]
    ones = {"zero": [0], "one": [1], "many": [2**31], "axis": [1]}
    _behind_logits(file, nodes, {name: np.array(v, dtype=np.int64) for name, v in ones.items()})
    parity = merged.judge(file)
    assert not parity.passed
    assert parity.decisions_changed > 0


def test_one_answer_for_all_tokens_misses_the_limits(merged: Merged, tmp_path: Path) -> None:
    file = tmp_path / "graph.onnx"
    export_onnx(merged.model, file, 18, per_token=True)
    nodes = [
        helper.make_node("ReduceMean", ["honest", "axis"], ["pooled"], keepdims=1),
        helper.make_node("Shape", ["honest"], ["shape"]),
        helper.make_node("Expand", ["pooled", "shape"], ["logits"]),
    ]
    _behind_logits(file, nodes, {"axis": np.array([1], dtype=np.int64)})
    assert not merged.judge(file).passed


# BERT has no layer between its encoder and its classifier.
@pytest.mark.parametrize("merged", ["modernbert"], indirect=True)
def test_a_missing_head_misses_the_limits(tmp_path: Path, merged: Merged) -> None:
    weights = merged.weights
    assert not isinstance(weights, Bert)
    size = weights.head_dense.shape[0]
    plain = dataclasses.replace(weights, head_dense=np.eye(size, dtype=np.float32))
    assert not merged.judge_weights(plain, tmp_path).passed
