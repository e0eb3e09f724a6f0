"""Every kind of graph is exact at 32,768 tokens, windows and YaRN included.

The reference is computed in blocks of rows, see test_long_reference. Measured: 0.9 GB at most.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from transformers.models.modernbert.modeling_modernbert import ModernBertAttention

from hazgate.bundle.manifest import GraphKind
from hazgate.engine.kernels import instruction_set
from hazgate.engine.session import OrtSession
from hazgate_export.author.families import balance_int8, read_weights, write_fp32, write_fused
from hazgate_export.graphs.convert import export_onnx
from hazgate_export.graphs.windows import block_windows
from hazgate_export.proof.reference import torch_logits
from tests.export.test_long_reference import architecture, model_of
from tests.support.subjects import random_cases

N_TOKENS = 32768
CASE = "modernbert-yarn-everywhere"
# One head of 32 channels: a score for each pair of tokens costs the most here.
SIZE = {"hidden_size": 32, "num_attention_heads": 1, "intermediate_size": 32}
WINDOWS = ("sliding_attention", "sliding_attention")
MOST = 1e-4
CASES = random_cases([N_TOKENS], seed=3, vocabulary=96)


def _run(file: Path, kind: GraphKind) -> NDArray[np.float32]:
    session = OrtSession(file, kind=kind, n_labels=2, threads=1)
    ids = np.array([CASES[0].input_ids])
    return session.run(ids, np.ones_like(ids))


@pytest.mark.slow
def test_cpu_graphs_are_exact_at_32768_tokens(tmp_path: Path) -> None:
    built = architecture(CASE, N_TOKENS, **SIZE)
    model = model_of(built)
    wanted = torch_logits(model, CASES, "PyTorch")
    weights = read_weights(model, built)
    write_fp32(weights, tmp_path / "authored.onnx", 18)
    assert np.abs(_run(tmp_path / "authored.onnx", "authored") - wanted).max() <= MOST
    if instruction_set() is None:
        pytest.skip("hazgate-kernels are not installed")
    texts = [case.input_ids for case in random_cases([64, 200], seed=1, vocabulary=96)]
    balanced = balance_int8(weights, texts, 18, tmp_path, threads=1)
    write_fused(balanced, tmp_path / "fused.onnx", 18, error=0.0)
    # The 8 bits of the weights are the only loss.
    fused = _run(tmp_path / "fused.onnx", "fused")
    assert np.abs(fused - wanted).max() < 0.05
    # A model that had lost YaRN would be further away than that.
    lost = model_of(architecture("modernbert", N_TOKENS, **SIZE))
    assert np.abs(torch_logits(lost, CASES, "without YaRN") - wanted).max() > 0.1


@pytest.mark.slow
def test_windows_of_the_portable_graph_are_exact_at_32768_tokens(tmp_path: Path) -> None:
    """Layers that see the whole text would hold 4.3 GB of scores: their tables follow below."""
    model = model_of(architecture(CASE, N_TOKENS, layer_types=WINDOWS, **SIZE))
    wanted = torch_logits(model, CASES, "PyTorch")
    export_onnx(model, tmp_path / "portable.onnx", 18)
    assert block_windows(tmp_path / "portable.onnx") == len(WINDOWS)
    assert np.abs(_run(tmp_path / "portable.onnx", "portable") - wanted).max() <= MOST


@pytest.mark.slow
def test_rotary_tables_of_the_portable_graph_are_exact_at_32768_tokens(tmp_path: Path) -> None:
    model = model_of(architecture("modernbert-yarn", N_TOKENS, **SIZE))
    export_onnx(model, tmp_path / "portable.onnx", 18)
    block_windows(tmp_path / "portable.onnx")
    graph = onnx.load(tmp_path / "portable.onnx").graph
    layers = [module for module in model.modules() if isinstance(module, ModernBertAttention)]
    ids = np.array([CASES[0].input_ids])
    for i, layer in enumerate(layers):
        names = [
            _scaled(graph, node.output[0])
            for node in graph.node
            if node.op_type in ("Cos", "Sin") and f"layers.{i}/attn/rotary" in node.name
        ]
        onnx.utils.extract_model(
            tmp_path / "portable.onnx",
            tmp_path / f"tables-{i}.onnx",
            [one.name for one in graph.input],
            names,
            check_model=False,
        )
        session = ort.InferenceSession(tmp_path / f"tables-{i}.onnx")
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        got = session.run(names, {one.name: feeds[one.name] for one in session.get_inputs()})
        with torch.inference_mode():
            positions = torch.arange(N_TOKENS)[None]
            wanted = layer.rotary_emb(torch.zeros(1), position_ids=positions)
        for table, exact in zip(got, wanted, strict=True):
            assert table.shape[-2:] == tuple(exact.shape[-2:])
            assert np.abs(table - exact.numpy()).max() <= 1e-6


def _scaled(graph: onnx.GraphProto, name: str) -> str:
    """Follow a cosine or sine to its product with YaRN's factor, if it has one."""
    users = [node for node in graph.node if name in node.input]
    if len(users) == 1 and users[0].op_type == "Mul":
        (other,) = (one for one in users[0].input if one != name)
        constants = {one.name for one in graph.initializer}
        constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
        if other in constants:
            return users[0].output[0]
    return name
