"""Only checked files run: they are opened once, and changes meanwhile are refused."""

import gc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hazgate import Bundle, BundleError, Classifier, Gate
from hazgate.engine import session
from hazgate.engine.canaries import Canaries
from hazgate.engine.engine import Engine, canaries_of
from hazgate.engine.external_data import external_files
from hazgate.engine.options import EngineOptions
from hazgate.errors import IntegrityError
from tests.support.damage import edit_manifest
from tests.support.tiny import SHARED_WEIGHTS

TEXT = "How do I kill a Python process?"
THREAD = EngineOptions(threads=1)


def _level(bundle: Bundle) -> Classifier:
    return Classifier.of(bundle, "level1", variant="fp32", engine=Engine.of(THREAD))


def _replace(file: Path, content: bytes) -> None:
    """Put another file in a file's place, as `mv` does."""
    other = file.with_name(".other")
    other.write_bytes(content)
    other.replace(file)


def _overwrite(file: Path) -> None:
    """Write into a file in place, as `dd conv=notrunc` does."""
    with file.open("r+b") as stream:
        stream.seek(file.stat().st_size // 2)
        stream.write(b"\xff" * 64)


@pytest.fixture
def by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ONNX Runtime that would copy what it is given, so that it gets paths."""
    monkeypatch.setattr(session, "_maps_what_it_gets", lambda _: False)


def test_files_that_are_replaced_after_the_check_change_no_answer(
    tiny_bundle: Path, bundle_copy: Path
) -> None:
    expected = _level(Bundle.open(tiny_bundle)).logits([TEXT])
    bundle = Bundle.open(bundle_copy)
    for name in bundle.manifest.files:
        _replace(bundle_copy / name, b"\0" * (bundle_copy / name).stat().st_size)
    assert np.array_equal(_level(bundle).logits([TEXT]), expected)
    assert canaries_of(bundle, "level1") == canaries_of(Bundle.open(tiny_bundle), "level1")


def test_a_directory_that_is_gone_after_the_check_changes_no_answer(
    tiny_bundle: Path, bundle_copy: Path
) -> None:
    bundle = Bundle.open(bundle_copy)
    bundle_copy.rename(bundle_copy.with_name("old"))
    assert np.array_equal(
        _level(bundle).logits([TEXT]), _level(Bundle.open(tiny_bundle)).logits([TEXT])
    )


@pytest.mark.parametrize("name", ["level1-fp32.onnx", SHARED_WEIGHTS, "tokenizer.json"])
def test_writing_into_a_file_after_the_check_is_refused(bundle_copy: Path, name: str) -> None:
    bundle = Bundle.open(bundle_copy)
    _overwrite(bundle_copy / name)
    with pytest.raises(IntegrityError, match=r"renaming a whole directory") as caught:
        _level(bundle)
    assert name in str(caught.value)


def test_writing_into_weights_while_a_session_is_made_is_refused(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = session._create

    def slow(*arguments: object) -> object:
        _overwrite(bundle_copy / SHARED_WEIGHTS)
        return create(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(session, "_create", slow)
    with pytest.raises(IntegrityError, match="changed while it was opened"):
        Gate.open(bundle_copy, engine=THREAD)


@pytest.mark.usefixtures("by_path")
@pytest.mark.parametrize("name", ["level1-fp32.onnx", SHARED_WEIGHTS])
def test_where_paths_are_opened_again_they_must_be_the_same_files(
    bundle_copy: Path, name: str
) -> None:
    bundle = Bundle.open(bundle_copy)
    # The same bytes: only its identity says that it is not the file that was checked.
    _replace(bundle_copy / name, (bundle_copy / name).read_bytes())
    with pytest.raises(IntegrityError, match="replaced while it was opened"):
        _level(bundle)


@pytest.mark.usefixtures("by_path")
def test_paths_and_descriptors_give_the_same_bits(tiny_bundle: Path) -> None:
    by_path = Gate.open(tiny_bundle, engine=THREAD).level1.logits([TEXT])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_maps_what_it_gets", lambda _: True)
        by_descriptor = Gate.open(tiny_bundle, engine=THREAD).level1.logits([TEXT])
    assert np.array_equal(by_path, by_descriptor)


def test_a_file_that_was_not_hashed_at_first_is_when_it_is_needed(bundle_copy: Path) -> None:
    bundle = Bundle.open_variant(bundle_copy, lambda _: "int8")
    _overwrite(bundle_copy / "level1-fp32.onnx")
    with pytest.raises(IntegrityError, match=r"level1-fp32\.onnx: SHA-256 differs"):
        _level(bundle)


@pytest.mark.parametrize("mode", ["by descriptor", "by path"])
def test_a_graph_may_map_only_what_its_variant_lists(
    bundle_copy: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(data: dict) -> None:  # type: ignore[type-arg]
        data["levels"]["level1"]["variants"]["fp32"]["data"].remove(SHARED_WEIGHTS)

    edit_manifest(bundle_copy, forget)
    if mode == "by path":
        monkeypatch.setattr(session, "_maps_what_it_gets", lambda _: False)
    with pytest.raises(BundleError, match="does not list for its variant") as caught:
        _level(Bundle.open(bundle_copy))
    assert SHARED_WEIGHTS in str(caught.value)


def test_descriptors_are_closed_when_nobody_uses_the_bundle(tiny_bundle: Path) -> None:
    def opened() -> int:
        gc.collect()
        links = list(Path("/proc/self/fd").iterdir())
        return sum(link.is_symlink() and str(tiny_bundle) in str(link.readlink()) for link in links)

    before = opened()
    bundle = Bundle.open(tiny_bundle)
    assert opened() > before
    del bundle
    assert opened() == before


def _tensor(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_external_files_are_found_wherever_a_graph_has_a_tensor() -> None:
    inner = helper.make_graph([], "inner", [], [], initializer=[_tensor("inner.bin")])
    sparse = onnx.SparseTensorProto(values=_tensor("values.bin"), indices=_tensor("indices.bin"))
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner),
        helper.make_node("Constant", [], ["z"], value=_tensor("constant.bin")),
        helper.make_node("Constant", [], ["s"], sparse_value=sparse),
        helper.make_node("Custom", [], ["t"], tensors=[_tensor("a.bin"), _tensor("b.bin")]),
    ]
    graph = helper.make_graph(nodes, "g", [], [], initializer=[_tensor("weights/w.bin")])
    graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=_tensor("sv.bin"), indices=_tensor("si.bin"))
    )
    function = helper.make_function(
        "d", "f", [], ["o"], [helper.make_node("Constant", [], ["o"], value=_tensor("f.bin"))], []
    )
    model = helper.make_model(graph, functions=[function])
    assert external_files(model.SerializeToString(), "m.onnx") == {
        *("inner.bin", "values.bin", "indices.bin", "constant.bin", "a.bin", "b.bin"),
        *("weights/w.bin", "sv.bin", "si.bin", "f.bin"),
    }


def test_the_last_value_of_an_entry_counts_as_in_protocol_buffers() -> None:
    entry = b"\x12\x01b\x0a\x08location\x12\x01c"
    tensor = b"\x6a" + bytes([len(entry)]) + entry
    assert onnx.TensorProto.FromString(tensor).external_data[0].value == "c"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    model = b"\x3a" + bytes([len(graph)]) + graph
    assert external_files(model, "m.onnx") == {"c"}


@pytest.mark.parametrize("content", [b"\x3a\x05\x00", b"\x3b", b"\xff" * 12, b"\x3a", b"\x09\x00"])
def test_bytes_that_are_no_graph_are_a_bundle_error(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"m\.onnx is not an ONNX graph"):
        external_files(content, "m.onnx")


def test_canaries_are_parsed_from_bytes_that_were_hashed(bundle_copy: Path) -> None:
    bundle = Bundle.open(bundle_copy)
    name = bundle.manifest.canaries
    assert name is not None
    assert Canaries.parse(bundle.read(name), source=name).levels
    _overwrite(bundle_copy / name)
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        canaries_of(bundle, "level1")
