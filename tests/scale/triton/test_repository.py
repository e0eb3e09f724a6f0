"""The repository on disk: what lies in it, what refuses to be written, and that nothing is half."""

import ast
import json
import os
import re
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path, PurePosixPath

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from google.protobuf import text_format

from hazgate import Bundle, Classifier, Gate
from hazgate.bundle.manifest import MANIFEST_FILE
from hazgate.cli.group import cli
from hazgate.engine.kernels import kernels_library
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError, IntegrityError, OutputError
from hazgate_scale.triton.config import level_config
from hazgate_scale.triton.layout import choose_layout
from hazgate_scale.triton.messages import ModelConfig, messages
from hazgate_scale.triton.options import RepositoryOptions
from hazgate_scale.triton.repository import write_repository
from hazgate_scale.triton.signature import check_signature
from tests.support.damage import flip_byte
from tests.support.processes import run_python
from tests.support.tiny import LEVELS

VARIANTS = ("fp32", "int8")
TEXT = "some words of a text"


def _read(repository: Path, model: str) -> ModelConfig:
    text = (repository / model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, messages().ModelConfig())


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def repository(variant: str, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("triton") / "models"
    write_repository(tiny_bundle, target, RepositoryOptions(variant=variant))
    return target


@pytest.mark.parametrize("level", LEVELS)
def test_plain_onnx_runtime_gives_the_levels_logits_from_the_models_folder(
    repository: Path, variant: str, level: str, tiny_bundle: Path
) -> None:
    classifier = Classifier.of(Bundle.open(tiny_bundle), level, variant=variant)
    (tokens,) = classifier.tokenizer.encode([TEXT])
    ids = np.array([tokens.windows[0].input_ids], dtype=np.int64)
    session = onnxruntime.InferenceSession(str(repository / level / "1" / "model.onnx"))
    (logits,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    assert np.abs(logits - classifier.logits([TEXT])).max() < 1e-5


@pytest.mark.parametrize("level", LEVELS)
def test_a_configuration_is_that_of_its_graph(repository: Path, level: str) -> None:
    """By ONNX Runtime's own reading of the graph, beside the exporter's check."""
    config = _read(repository, level)
    session = onnxruntime.InferenceSession(str(repository / level / "1" / "model.onnx"))
    types = {"tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}
    for told, found in (
        (config.input, session.get_inputs()),
        (config.output, session.get_outputs()),
    ):
        assert {t.name: messages().DataType.Name(t.data_type) for t in told} == {
            node.name: types[node.type] for node in found
        }
        axes = {node.name: [n if isinstance(n, int) else -1 for n in node.shape] for node in found}
        assert {t.name: [-1, *t.dims] for t in told} == axes


@pytest.mark.parametrize("level", LEVELS)
def test_labels_and_warm_up_lie_where_the_configuration_says(repository: Path, level: str) -> None:
    config = _read(repository, level)
    labels = (repository / level / config.output[0].label_filename).read_text(encoding="utf-8")
    assert tuple(labels.splitlines()) == LEVELS[level]
    for sample in config.model_warmup:
        mask = sample.inputs["attention_mask"]
        data = (repository / level / "warmup" / mask.input_data_file).read_bytes()
        assert np.frombuffer(data, dtype="<i8").tolist() == [1] * mask.dims[0]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["fp32", "int8", "int8-fused"])
def test_graphs_of_fused_operators_run_with_what_their_configurations_say(
    variant: str, mini_bundle: Path, tmp_path: Path
) -> None:
    """The backend's calls of ONNX Runtime, made here: its level, and the library of operators."""
    pytest.importorskip("hazgate_kernels", reason="built only where there is a C++ compiler")
    kernels = PurePosixPath(kernels_library())
    options = RepositoryOptions(variant=variant, kernels=kernels, threads=1)
    write_repository(mini_bundle, tmp_path / "models", options)
    gate = Gate.open(mini_bundle, engine=EngineOptions(variant=variant, threads=1))
    for classifier in (gate.level1, gate.level2):
        config = _read(tmp_path / "models", classifier.level)
        session_options = onnxruntime.SessionOptions()
        assert config.optimization.graph.level == -1
        basic = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        session_options.graph_optimization_level = basic
        for library in config.model_operations.op_library_filename:
            session_options.register_custom_ops_library(library)
        graph = tmp_path / "models" / classifier.level / "1" / config.default_model_filename
        session = onnxruntime.InferenceSession(str(graph), session_options)
        (tokens,) = classifier.tokenizer.encode([TEXT])
        ids = np.array([tokens.windows[0].input_ids], dtype=np.int64)
        (logits,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        assert np.abs(logits - classifier.logits([TEXT])).max() < 1e-4


def test_weights_lie_in_the_repository_once(repository: Path, tiny_bundle: Path) -> None:
    n_bytes = {
        file.stat().st_ino: file.stat().st_size for file in repository.rglob("*") if file.is_file()
    }
    bundle = sum(file.stat().st_size for file in tiny_bundle.rglob("*") if file.is_file())
    assert bundle < sum(n_bytes.values()) < bundle + 50_000
    own = {file.stat().st_ino for file in tiny_bundle.rglob("*")}
    assert not own & set(n_bytes), "a link to the bundle itself would change when that does"


def test_the_repository_names_what_it_was_made_of(
    repository: Path, variant: str, tiny_bundle: Path
) -> None:
    digest = Bundle.open(tiny_bundle).digest
    told = json.loads((repository / "hazgate.json").read_text(encoding="utf-8"))
    assert told["bundle"] == {"name": "tiny", "digest": digest}
    assert told["variant"] == variant
    assert (
        set(told["models"])
        == {*LEVELS, "hazgate"}
        == {p.parent.name for p in repository.glob("*/1")}
    )
    assert digest in (repository / "README.md").read_text(encoding="utf-8")
    assert Bundle.open(repository / "hazgate" / "1" / "bundle").digest == digest
    parameters = _read(repository, "hazgate").parameters
    assert parameters["digest"].string_value == digest
    assert parameters["variant"].string_value == variant


def test_what_the_server_runs_knows_nothing_of_the_exporter(repository: Path) -> None:
    source = (repository / "hazgate" / "1" / "model.py").read_text(encoding="utf-8")
    assert source == files("hazgate_scale.triton").joinpath("model.py").read_text(encoding="utf-8")
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    assert imported - {"collections", "dataclasses", "json", "pathlib", "traceback", "typing"} == {
        "hazgate",
        "numpy",
        "triton_python_backend_utils",
    }


def test_a_configuration_of_another_graph_is_caught(tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    layout = choose_layout(bundle.manifest, RepositoryOptions(variant="fp32"))
    model = layout.levels[0]
    graph = bundle.file(model.variant.graph)

    def changed(edit: Callable[[ModelConfig], object]) -> ModelConfig:
        config = level_config(model, layout, RepositoryOptions(), bundle.digest)
        edit(config)
        return config

    check_signature(changed(lambda config: None), graph)
    # A free axis may be fixed.
    check_signature(changed(lambda config: config.input[0].dims.__setitem__(0, 8)), graph)
    int32 = messages().TYPE_INT32
    wrong: tuple[tuple[Callable[[ModelConfig], object], str], ...] = (
        (lambda c: setattr(c.input[0], "name", "ids"), "not ['attention_mask', 'ids']"),
        (lambda c: setattr(c.input[0], "data_type", int32), "is of INT64, not TYPE_INT32"),
        (lambda c: c.input[1].dims.append(2), "has the shape [-1, -1], not [-1, -1, 2]"),
        (lambda c: c.output[0].dims.__setitem__(0, 9), "has the shape [-1, 2], not [-1, 9]"),
        (lambda c: c.output.add(name="more"), "outputs are ['logits']"),
    )
    for edit, message in wrong:
        with pytest.raises(BundleError, match=re.escape(message)):
            check_signature(changed(edit), graph)


@pytest.mark.parametrize("what", ["folder", "file", "link to nowhere"])
def test_an_output_that_exists_is_refused_and_left_alone(
    what: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    target = tmp_path / "models"
    if what == "folder":
        target.mkdir()
    elif what == "file":
        target.write_text("mine")
    else:
        target.symlink_to("nowhere")
    with pytest.raises(OutputError, match="is not overwritten"):
        write_repository(tiny_bundle, target, RepositoryOptions())
    assert [file.name for file in tmp_path.iterdir()] == ["models"]


def test_a_bundle_that_was_changed_is_refused_and_leaves_nothing(
    bundle_copy: Path, tmp_path: Path
) -> None:
    flip_byte(bundle_copy / "tokenizer.json")
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        write_repository(bundle_copy, tmp_path / "out" / "models", RepositoryOptions())
    assert not (tmp_path / "out").exists()


def test_a_failure_on_the_way_leaves_nothing(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up while the second file is copied."""
    copies: list[object] = []

    def copyfile(source: Path, target: Path) -> None:
        copies.append(target)
        target.write_bytes(source.read_bytes()[: 10 if len(copies) > 1 else None])
        if len(copies) > 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(OSError, match="No space left"):
        write_repository(tiny_bundle, tmp_path / "models", RepositoryOptions())
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_changes_while_it_is_copied_is_refused(
    bundle_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole and valid bundle, but another: only the digest tells."""
    original = shutil.copyfile

    def copyfile(source: Path, target: Path) -> None:
        original(source, target)
        if source.name == MANIFEST_FILE:
            text = target.read_text(encoding="utf-8")
            target.write_text(text.replace('"description": "', '"description": "another '))

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(IntegrityError, match="changed while it was copied"):
        write_repository(bundle_copy, tmp_path / "models", RepositoryOptions())
    assert not (tmp_path / "models").exists()


def test_where_hard_links_cannot_be_files_are_copied(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", link)
    write_repository(tiny_bundle, tmp_path / "models", RepositoryOptions(variant="fp32"))
    onnxruntime.InferenceSession(str(tmp_path / "models" / "level2" / "1" / "model.onnx"))


def test_the_command_writes_a_repository_and_says_what_is_in_it(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    target = tmp_path / "models"
    arguments = ["triton", str(tiny_bundle), str(target), "--variant", "fp32"]
    result = CliRunner().invoke(cli, [*arguments, "--provider", "migraphx", "--bucket", "16"])
    assert result.exit_code == 0, result.stderr
    assert "level1_16: rows of 16 tokens, up to 32 together" in result.stdout
    assert sorted(p.name for p in target.iterdir() if p.is_dir()) == [
        "hazgate",
        "level1_16",
        "level2_16",
    ]
    again = CliRunner().invoke(cli, arguments)
    assert again.exit_code == 6
    assert "exists" in again.stderr


def test_the_command_needs_neither_torch_nor_transformers(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from hazgate.cli.group import cli\n"
        "cli(standalone_mode=False)\n"
        "sys.exit(', '.join({'torch', 'transformers'} & set(sys.modules)) or 0)"
    )
    target = tmp_path / "models"
    done = run_python("-c", code, "triton", tiny_bundle, target, "--variant", "fp32")
    assert done.returncode == 0, done.stderr
    assert (target / "hazgate.json").is_file()


def test_without_onnx_the_command_says_what_to_install(tiny_bundle: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['onnx'] = None\nfrom hazgate.cli.group import cli; cli()"
    done = run_python("-c", code, "triton", tiny_bundle, tmp_path / "models")
    assert done.returncode == 1
    assert "pip install 'hazgate-scale[triton]'" in done.stderr


def test_options_that_contradict_themselves_are_usage_errors(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = ["triton", str(tiny_bundle), str(tmp_path / "models")]
    for more in (["--bucket", "8"], ["--max-batch-size", "0"], ["--provider", "tpu"], ["--fast"]):
        result = CliRunner().invoke(cli, [*arguments, *more])
        assert result.exit_code == 2
        assert "Usage: " in result.stderr
    assert not (tmp_path / "models").exists()


def test_a_variant_that_cannot_be_served_is_exit_code_3(tiny_bundle: Path, tmp_path: Path) -> None:
    arguments = ["triton", str(tiny_bundle), str(tmp_path / "models"), "--variant", "int4"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 3
    assert "no variant 'int4'" in result.stderr
