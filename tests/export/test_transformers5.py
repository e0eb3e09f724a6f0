"""Checkpoints of transformers 5 are computed as transformers 5 computes them.

The logits in tests/data/transformers5 are its own, see tests.support.transformers5. The reference,
its authored graphs and its portable graph are compared with them, not with one another.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from hazgate.bundle.manifest import GraphKind
from hazgate.engine.kernels import instruction_set
from hazgate.engine.session import OrtSession
from hazgate_export.author.families import balance_int8, read_weights, write_fp32, write_fused
from hazgate_export.errors import SourceError, UnsupportedArchitecture
from hazgate_export.graphs.convert import export_onnx
from hazgate_export.graphs.windows import block_windows
from hazgate_export.model.architecture import Architecture, ModernBertArchitecture
from hazgate_export.model.config import load_config
from hazgate_export.model.installed import conform
from hazgate_export.model.pretrained import load_pretrained
from hazgate_export.model.sources import Fetched
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.texts import Case
from hazgate_export.recipe import BaseRecipe, DirectorySource
from tests.support import transformers5
from tests.support.environments import environment
from tests.support.transformers5 import (
    GOLDENS,
    LABELS,
    LENGTHS,
    LONG_LENGTHS,
    REQUIREMENTS,
    inputs,
    values,
)

CASES = sorted(folder.name for folder in GOLDENS.iterdir())
AUTHORED = [case for case in CASES if case.startswith(("modernbert", "bert"))]
AUTHORED.remove("modernbert-biased")
MOST = 1e-4


def write_checkpoint(case: str, folder: Path, goldens: Path = GOLDENS) -> Path:
    """Write the configuration and the weights that `values` makes."""
    golden = json.loads((goldens / case / "golden.json").read_text("utf-8"))
    shutil.copy(goldens / case / "config.json", folder)
    tensors = {name: values(name, shape) for name, shape in golden["tensors"].items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def load(directory: Path) -> tuple[PreTrainedModel, Architecture]:
    architecture = load_config(directory, "test/model").architecture
    recipe = BaseRecipe(
        id="test/model",
        source=DirectorySource(directory=directory),
        family=architecture.family,
        pooling=architecture.pooling,
    )
    fetched = Fetched(directory=directory, id="test/model", revision=None, sha256="0" * 64)
    loaded = load_pretrained(fetched, recipe, LABELS, "softmax")
    assert not loaded.missing
    assert not loaded.misshapen
    assert not loaded.unexpected
    return loaded.model.eval(), architecture


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[PreTrainedModel, Architecture]]:
    made: dict[str, tuple[PreTrainedModel, Architecture]] = {}

    def get(case: str) -> tuple[PreTrainedModel, Architecture]:
        if case not in made:
            made[case] = load(write_checkpoint(case, tmp_path_factory.mktemp(case)))
        return made[case]

    return get


Models = Callable[[str], tuple[PreTrainedModel, Architecture]]


def expected(case: str) -> NDArray[np.float32]:
    golden = json.loads((GOLDENS / case / "golden.json").read_text("utf-8"))
    assert golden["transformers"].startswith("5.")
    return np.array(golden["logits"], dtype=np.float32)


def cases() -> list[Case]:
    return [Case(id=str(len(ids)), is_text=True, input_ids=tuple(ids)) for ids in inputs()]


def run(file: Path, kind: GraphKind, lengths: Sequence[int] = LENGTHS) -> NDArray[np.float32]:
    session = OrtSession(file, kind=kind, n_labels=len(LABELS), threads=1)
    return np.concatenate(
        [
            session.run(np.array([ids]), np.ones((1, len(ids)), dtype=np.int64))
            for ids in inputs(lengths)
        ]
    )


@pytest.mark.parametrize("case", CASES)
def test_the_reference_answers_as_transformers_5(models: Models, case: str) -> None:
    model, _ = models(case)
    assert np.abs(torch_logits(model, cases(), case) - expected(case)).max() <= MOST


def test_the_installed_library_alone_computes_something_else(tmp_path: Path) -> None:
    """Without a word it takes other figures from the file; so the exporter reads it."""
    directory = write_checkpoint("modernbert-yarn", tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(
        directory, attn_implementation="eager", reference_compile=False
    )
    got = torch_logits(model.eval(), cases(), "alone")
    assert np.abs(got - expected("modernbert-yarn")).max() > 0.05


@pytest.mark.parametrize("case", AUTHORED)
def test_the_authored_graph_answers_as_transformers_5(
    models: Models, case: str, tmp_path: Path
) -> None:
    write_fp32(read_weights(*models(case)), tmp_path / "graph.onnx", 18)
    assert np.abs(run(tmp_path / "graph.onnx", "authored") - expected(case)).max() <= MOST


@pytest.mark.skipif(instruction_set() is None, reason="hazgate-kernels are not installed")
@pytest.mark.parametrize("case", ["modernbert-yarn", "modernbert-irregular"])
def test_the_fused_graph_answers_as_transformers_5(
    models: Models, case: str, tmp_path: Path
) -> None:
    """With 16 bits for all activations the weights' 8 bits are the only loss."""
    texts = [tuple(ids) for ids in inputs()]
    balanced = balance_int8(read_weights(*models(case)), texts, 18, tmp_path, threads=1)
    write_fused(balanced, tmp_path / "graph.onnx", 18, error=0.0)
    got = run(tmp_path / "graph.onnx", "fused")
    assert np.abs(got - expected(case)).max() < 0.12
    others = [
        expected(other) for other in CASES if other.startswith("modernbert") and other != case
    ]
    assert all(np.abs(got - expected(case)).max() < np.abs(got - o).max() for o in others)


@pytest.mark.parametrize("case", ["modernbert-yarn", "modernbert-irregular", "deberta-v2"])
def test_the_portable_graph_answers_as_transformers_5(
    models: Models, case: str, tmp_path: Path
) -> None:
    model, architecture = models(case)
    export_onnx(model, tmp_path / "graph.onnx", 18)
    n_windows = block_windows(tmp_path / "graph.onnx")
    if isinstance(architecture, ModernBertArchitecture):
        assert n_windows == architecture.layer_types.count("sliding_attention")
    assert np.abs(run(tmp_path / "graph.onnx", "portable") - expected(case)).max() <= MOST


def test_a_graph_that_is_not_known_is_refused(models: Models) -> None:
    with pytest.raises(UnsupportedArchitecture) as raised:
        read_weights(*models("modernbert-biased"))
    assert len(raised.value.problems) == 5


def _kind(model: PreTrainedModel) -> None:
    model.config.global_attn_every_n_layers = 2


def _eps(model: PreTrainedModel) -> None:
    model.model.final_norm.eps = 1e-6


def _rows(model: PreTrainedModel) -> None:
    model.resize_token_embeddings(97)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_kind, "global_attn_every_n_layers: expected"),
        (_eps, "epsilon of norms: expected 1e-05, got"),
        (_rows, "rows of the embeddings: expected 96, got 97"),
    ],
)
def test_what_the_library_made_otherwise_stops_the_build(
    tmp_path: Path, change: Callable[[PreTrainedModel], None], named: str
) -> None:
    model, architecture = load(write_checkpoint("modernbert", tmp_path))
    change(model)
    with pytest.raises(SourceError, match=r"reads its config.json otherwise") as raised:
        conform(model, architecture, "test/model")
    assert named in str(raised.value)


def test_other_frequencies_of_the_library_stop_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, architecture = load(write_checkpoint("modernbert-yarn", tmp_path))

    def wrong(_rotary: object, width: int) -> torch.Tensor:
        return torch.ones(width // 2)

    monkeypatch.setattr("hazgate_export.model.installed.inverse_frequencies", wrong)
    with pytest.raises(SourceError, match=r"layer 0: other frequencies of rotary positions"):
        conform(model, architecture, "test/model")


def ask_transformers_5(what: str, folder: Path) -> None:
    """Run tests.support.transformers5 in an environment with transformers 5."""
    python = environment(*REQUIREMENTS) / "python"
    done = subprocess.run(
        # Isolated: files beside the script have the names of libraries.
        [python, "-I", transformers5.__file__, what, folder],
        capture_output=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
def test_the_goldens_are_what_transformers_5_saves_and_computes(tmp_path: Path) -> None:
    ask_transformers_5("goldens", tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == CASES
    for case in CASES:
        saved = json.loads((tmp_path / case / "config.json").read_text("utf-8"))
        assert saved == json.loads((GOLDENS / case / "config.json").read_text("utf-8"))
        golden = json.loads((tmp_path / case / "golden.json").read_text("utf-8"))
        assert np.abs(np.array(golden["logits"]) - expected(case)).max() < 1e-5


@pytest.mark.slow
def test_yarn_is_exact_on_long_texts_in_every_kind_of_graph(tmp_path: Path) -> None:
    ask_transformers_5("long", tmp_path / "goldens")
    golden = json.loads((tmp_path / "goldens" / "long" / "golden.json").read_text("utf-8"))
    wanted = np.array(golden["logits"], dtype=np.float32)
    model, architecture = load(write_checkpoint("long", tmp_path, tmp_path / "goldens"))
    weights = read_weights(model, architecture)
    write_fp32(weights, tmp_path / "authored.onnx", 18)
    assert np.abs(run(tmp_path / "authored.onnx", "authored", LONG_LENGTHS) - wanted).max() <= MOST
    export_onnx(model, tmp_path / "portable.onnx", 18)
    block_windows(tmp_path / "portable.onnx")
    assert np.abs(run(tmp_path / "portable.onnx", "portable", LONG_LENGTHS) - wanted).max() <= MOST
    if instruction_set() is not None:
        balanced = balance_int8(weights, [tuple(i) for i in inputs()], 18, tmp_path, threads=1)
        write_fused(balanced, tmp_path / "fused.onnx", 18, error=0.0)
        got = run(tmp_path / "fused.onnx", "fused", LONG_LENGTHS)
        assert np.abs(got - wanted).max() < 0.12
