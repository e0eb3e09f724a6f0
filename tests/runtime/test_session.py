"""A graph runs on the provider that was asked for, or says why not; its answers are finite."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from hazgate import BundleError, InferenceError, ProviderError
from hazgate.engine.processor import n_processors
from hazgate.engine.providers.table import CPU
from hazgate.engine.session import OrtSession
from tests.support.graphs import (
    INPUTS,
    Signature,
    constant_graph,
    lookup_graph,
    one_row_graph,
)
from tests.support.processes import run_python

NAN, INF = float("nan"), float("inf")


def _open(
    folder: Path,
    graph: bytes,
    *,
    n_labels: int = 2,
    threads: int = 1,
) -> OrtSession:
    file = folder / "graph.onnx"
    file.write_bytes(graph)
    return OrtSession(file, kind="portable", n_labels=n_labels, threads=threads)


def _ids(*rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    input_ids = np.array(rows, dtype=np.int64)
    return input_ids, np.ones_like(input_ids)


def test_logits_come_back_as_the_graph_gives_them(tmp_path: Path) -> None:
    logits = _open(tmp_path, constant_graph([0.5, -3])).run(*_ids([1, 2], [3, 4], [5, 6]))
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits, [[0.5, -3]] * 3)


def test_a_host_without_onnxruntime_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ProviderError, match=r"pip install hazgate\[cpu\]"):
        _open(tmp_path, constant_graph([0, 1]))


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_thread_is_refused(tmp_path: Path, threads: int) -> None:
    with pytest.raises(BundleError, match=f"threads must be at least 1, got {threads}"):
        _open(tmp_path, constant_graph([0, 1]), threads=threads)


def test_there_is_at_least_one_thread_by_default() -> None:
    assert n_processors() >= 1


@pytest.mark.parametrize(
    "graph",
    [b"", b"not a graph", constant_graph([0, 1])[:-40], bytes(1000)],
    ids=["empty", "text", "cut off", "zeros"],
)
def test_a_corrupt_graph_is_a_bundle_error_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], graph: bytes
) -> None:
    with pytest.raises(BundleError, match=rf"graph\.onnx cannot be loaded on {CPU}"):
        _open(tmp_path, graph)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_a_missing_graph_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.onnx cannot be loaded"):
        OrtSession(tmp_path / "none.onnx", kind="portable", n_labels=2, threads=1)


SIGNATURES = {
    "input missing": Signature(inputs=INPUTS[:1]),
    "input of another name": Signature(inputs=(INPUTS[0], ("mask", TensorProto.INT64))),
    "input too many": Signature(inputs=(*INPUTS, ("token_type_ids", TensorProto.INT64))),
    "input of another type": Signature(inputs=(INPUTS[0], ("attention_mask", TensorProto.FLOAT))),
    "output of another name": Signature(output="scores"),
    "output of another type": Signature(output_type=TensorProto.DOUBLE),
    "output of another rank": Signature(output_shape=("batch", 1, 2)),
    "output too many": Signature(extra_output=True),
}


@pytest.mark.parametrize("way", SIGNATURES)
def test_a_graph_with_another_signature_is_refused(tmp_path: Path, way: str) -> None:
    expected = "expected the inputs" if way.startswith("input") else "expected one float output"
    with pytest.raises(BundleError, match=rf"graph\.onnx: {expected}"):
        _open(tmp_path, constant_graph([0, 1], SIGNATURES[way]))


@pytest.mark.parametrize("n_labels", [1, 3])
def test_a_graph_with_another_number_of_labels_is_refused(tmp_path: Path, n_labels: int) -> None:
    with pytest.raises(BundleError, match=rf"logits \[batch, {n_labels}\]"):
        _open(tmp_path, constant_graph([0, 1]), n_labels=n_labels)


@pytest.mark.parametrize("bad", [NAN, INF, -INF], ids=str)
@pytest.mark.parametrize("place", [0, 1])
def test_a_logit_that_is_not_finite_is_an_error(tmp_path: Path, bad: float, place: int) -> None:
    row = [0.0, 0.0]
    row[place] = bad
    session = _open(tmp_path, constant_graph(row))
    with pytest.raises(InferenceError, match=r"logits that are not finite, shape \(1, 3\)"):
        session.run(*_ids([1, 2, 3]))


def test_one_bad_row_spoils_its_batch_and_no_other(tmp_path: Path) -> None:
    session = _open(tmp_path, lookup_graph([[0, 1], [NAN, 1], [2, 3]]))
    with pytest.raises(InferenceError):
        session.run(*_ids([0], [1], [2]))
    np.testing.assert_array_equal(session.run(*_ids([0], [2])), [[0, 1], [2, 3]])


def test_a_run_that_onnxruntime_refuses_is_an_inference_error_with_the_shape(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = _open(tmp_path, lookup_graph([[0, 1]]))
    with pytest.raises(InferenceError, match=r"graph\.onnx failed on shape \(1, 2\)"):
        session.run(*_ids([99, 0]))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_fewer_rows_than_texts_are_never_taken_for_answers(tmp_path: Path) -> None:
    session = _open(tmp_path, one_row_graph(2))
    assert session.run(*_ids([1])).shape == (1, 2)
    with pytest.raises(InferenceError, match=r"expected logits of shape \(3, 2\), got \(1, 2\)"):
        session.run(*_ids([1], [2], [3]))


# Half of the smallest normal number is 0 once somebody has set flush-to-zero in this thread.
_ARITHMETIC = """
import sys, threading
import numpy as np
import onnxruntime
from hazgate import EngineOptions, Gate

def look():
    print(sys.float_info.min / 2 > 0, np.float32(1e-38) * np.float32(0.1) > 0)

look()
gate = Gate.open(sys.argv[1], engine=EngineOptions(threads=1))
look()
gate.check("hello")
look()
thread = threading.Thread(target=look)
thread.start()
thread.join()
"""


def test_a_model_leaves_the_arithmetic_of_its_host_alone(tiny_bundle: Path) -> None:
    done = run_python("-c", _ARITHMETIC, tiny_bundle)
    assert done.returncode == 0, done.stderr
    before, opened, run, in_a_new_thread = done.stdout.splitlines()
    assert before == "True True"
    assert (opened, run, in_a_new_thread) == (before, before, before)


def test_a_provider_that_fails_to_start_is_not_replaced_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no device")

    # Inside, onnxruntime would print the failure and try again on another provider.
    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail)
    with pytest.raises(BundleError, match="no device"):
        _open(tmp_path, constant_graph([0, 1]))
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
