"""The only file that knows ONNX Runtime: a graph, one execution provider, arrays in and out."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import BundleError, InferenceError, ProviderError
from hazgate.int8_speed import int8_speedup
from hazgate.manifest import GraphKind

if TYPE_CHECKING:
    import onnxruntime

CPU = "CPUExecutionProvider"

_INPUTS = ("input_ids", "attention_mask")
_OUTPUT = "logits"


class Session(Protocol):
    """What a classifier needs of an engine."""

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits of shape [batch, n_labels] for two arrays of shape [batch, sequence]."""
        ...


class OrtSession:
    """An ONNX Runtime session of one graph on one execution provider. Thread-safe."""

    def __init__(
        self, graph: Path, *, kind: GraphKind, n_labels: int, provider: str, threads: int
    ) -> None:
        """Opens `graph`, whose external data lie where the graph says, beside it.

        Args:
            graph: the ONNX file.
            kind: an authored graph is run as it is written, a portable one as ONNX Runtime
                fuses it.
            n_labels: the width that its logits must have.
            provider: ONNX Runtime's name of the execution provider, e.g. CPUExecutionProvider.
            threads: intra-op threads of one run.

        Raises:
            ProviderError: the provider is not in this onnxruntime, or did not take the graph.
            BundleError: the graph cannot be loaded, or has another signature.
        """
        ort = _onnxruntime()
        available = ort.get_available_providers()
        if provider not in available:
            raise ProviderError(
                f"{provider} was asked for, but the installed onnxruntime {ort.__version__} has "
                f"{', '.join(available)}. Install the onnxruntime distribution of that provider "
                "(and only that one), or ask for one that is here."
            )
        try:
            session = ort.InferenceSession(
                str(graph),
                session_options(ort, kind, threads),
                providers=[provider],
                # It would print, and answer by the CPU.
                enable_fallback=False,
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise BundleError(f"{graph.name} cannot be loaded on {provider}: {error}") from error
        # Without this ONNX Runtime answers a provider's failure by a silent run on the CPU.
        session.disable_fallback()
        if session.get_providers()[0] != provider:
            raise ProviderError(
                f"{provider} was asked for, but {graph.name} runs on {session.get_providers()}"
            )
        _check_signature(session, graph.name, n_labels)
        self._session = session
        self._name = graph.name
        self._n_labels = n_labels

    def run(
        self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Logits of a padded batch.

        Args:
            input_ids: shape [batch, sequence].
            attention_mask: the same shape; 1 on tokens, 0 on padding.

        Returns:
            Finite logits, shape [batch, n_labels], in the order of the labels.

        Raises:
            InferenceError: ONNX Runtime failed, or a logit is not finite.
        """
        shape = input_ids.shape
        try:
            (logits,) = self._session.run(
                [_OUTPUT], {"input_ids": input_ids, "attention_mask": attention_mask}
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise InferenceError(f"{self._name} failed on shape {shape}: {error}") from error
        if logits.shape != (shape[0], self._n_labels):
            raise InferenceError(
                f"{self._name}: expected logits of shape {(shape[0], self._n_labels)}, "
                f"got {logits.shape}"
            )
        if not np.isfinite(logits).all():
            raise InferenceError(f"{self._name} gave logits that are not finite, shape {shape}")
        return np.asarray(logits, dtype=np.float32)


def default_threads() -> int:
    """The processors that this process may use: the best number for one text at a time."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure_int8_speedup() -> float:
    """How many times as fast as in float32 this processor multiplies in int8; see int8_speed.

    Raises:
        ProviderError: there is no onnxruntime.
    """
    return int8_speedup(_onnxruntime())


def _onnxruntime() -> Any:  # noqa: ANN401 - a module without type information
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            "no onnxruntime distribution is installed. Install exactly one: "
            "`pip install hazgate[cpu]` on a CPU host, AMD's wheel on a ROCm host."
        ) from error
    return onnxruntime


def session_options(
    ort: Any,  # noqa: ANN401 - a module without type information
    kind: GraphKind,
    threads: int,
) -> "onnxruntime.SessionOptions":
    """Options of a session on a graph of that kind, whose runs take `threads` threads each.

    Raises:
        BundleError: fewer than one thread.
    """
    if threads < 1:
        raise BundleError(f"threads must be at least 1, got {threads}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Errors come back as exceptions; a library does not write to its host's terminal.
    options.log_severity_level = 4
    if kind == "authored":
        # It consists of fused operators already, and beyond this level ONNX Runtime rewrites
        # mapped weights into copies of its own: slower to open, larger, and no faster to run.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return options


def _check_signature(session: "onnxruntime.InferenceSession", name: str, n_labels: int) -> None:
    inputs = {node.name: node.type for node in session.get_inputs()}
    outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    expected = dict.fromkeys(_INPUTS, "tensor(int64)")
    if inputs != expected:
        raise BundleError(f"{name}: expected the inputs {expected}, got {inputs}")
    kind, shape = outputs.get(_OUTPUT, ("", []))
    if len(outputs) != 1 or kind != "tensor(float)" or len(shape) != 2 or shape[1] != n_labels:
        raise BundleError(
            f"{name}: expected one float output {_OUTPUT} [batch, {n_labels}], got {outputs}"
        )
