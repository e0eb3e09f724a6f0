"""Tensors of KServe's Open Inference Protocol, version 2, as HTTP and gRPC share them. Pure.

There is one model. Its input is `text`, BYTES [n]; its outputs are `unsafe`, P(unsafe) of each
text, FP32 [n], and `flagged`, BOOL [n]. A level that is served alone has `labels`, their names,
BYTES [k], `scores`, the probability of each, FP32 [n, k], and `holds`, BOOL [n, k]; and `unsafe`
and `flagged` only if it states its positive label. Raw contents have the form of Triton's binary
extension.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hazgate.errors import InputError
from hazgate.gate import Gate
from hazgate.judge import Answer, Judge, check_scores_suffice, labels_of, level_of, verdict_of

SERVER = "hazgate"
PLATFORM = "onnx_onnxv1"
INPUT, INPUT_DATATYPE = "text", "BYTES"
OUTPUTS: Mapping[str, str] = {"unsafe": "FP32", "flagged": "BOOL"}
LABEL_OUTPUTS: Mapping[str, str] = {"labels": "BYTES", "scores": "FP32", "holds": "BOOL"}
# Outputs that say of a text that was not understood that it is none to let pass.
_SAY_SO = frozenset(("flagged", "holds"))
_SCORES = frozenset(("unsafe", "scores"))
_RAW_TYPES: Mapping[str, type[np.generic]] = {"FP32": np.float32, "BOOL": np.bool_}
_LENGTH = struct.Struct("<I")
_TENSOR_PARAMETERS = frozenset(("binary_data", "binary_data_size"))
_REQUEST_PARAMETERS = frozenset(("binary_data_output", "timeout"))
# Those of Triton's extensions. Scores have no classes to name, and no request has a state.
_REFUSED_PARAMETERS = frozenset(
    (
        *("classification", "priority", "sequence_id", "sequence_start", "sequence_end"),
        *("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"),
    )
)


# The model's tensors have one axis or two. A product of unbounded numbers takes quadratic time.
_MAX_AXES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputTensor:
    """An output with its values, row by row."""

    name: str
    datatype: str
    shape: list[int]
    values: list[Any]

    @property
    def raw(self) -> bytes:
        """The values as raw contents, little-endian; each text has its length before it."""
        if self.datatype == "BYTES":
            texts = [text.encode() for text in self.values]
            return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
        values = np.asarray(self.values, dtype=_RAW_TYPES[self.datatype])
        return values.astype(values.dtype.newbyteorder("<")).tobytes()


def input_tensors() -> list[dict[str, Any]]:
    """Describe the input for the model's metadata: its name, datatype and shape."""
    return [{"name": INPUT, "datatype": INPUT_DATATYPE, "shape": [-1]}]


def output_tensors(judge: Judge) -> list[dict[str, Any]]:
    """Describe the outputs for the model's metadata: their names, datatypes and shapes."""
    labels = level_of(judge).labels
    return [
        {"name": name, "datatype": datatype, "shape": _shape(name, labels)}
        for name, datatype in _datatypes(judge).items()
    ]


def unknown_model(served: str) -> str:
    """Return the message for a request that names another model than `served`."""
    return f"no such model; this server has {served}"


def check_input(inputs: Sequence[tuple[str, str]]) -> None:
    """Check the name and datatype of each input.

    Raises:
        InputError: they are not those of the one input that the model has.
    """
    if list(inputs) != [(INPUT, INPUT_DATATYPE)]:
        raise InputError(f"expected one input, {INPUT} of datatype {INPUT_DATATYPE}")


def timeout_of_parameters(parameters: Mapping[str, object]) -> float:
    """Return the seconds that a request's parameters give it; infinity where they give none.

    Raises:
        InputError: a parameter would change what is read or answered; names those that Triton
            knows, and counts the others.
    """
    named: list[str] = []
    n_unknown = 0
    for name, value in parameters.items():
        if name in _REQUEST_PARAMETERS or (name == "priority" and value == 0):
            continue
        if name in _REFUSED_PARAMETERS:
            named.append(name)
        else:
            n_unknown += 1
    _refuse_parameters("the request", named, n_unknown)
    timeout_us = parameters.get("timeout")
    if timeout_us is None:
        return math.inf
    if isinstance(timeout_us, bool) or not isinstance(timeout_us, int) or timeout_us < 0:
        raise InputError("the parameter timeout must be a number of microseconds")
    # Zero is the default of Triton's clients: no limit of their own.
    return timeout_us / 1e6 if timeout_us else math.inf


def check_tensor_parameters(name: str, parameters: Mapping[str, object]) -> None:
    """Check the parameters of one tensor, input or output.

    Raises:
        InputError: a parameter would change what is read or answered.
    """
    others = [key for key in parameters if key not in _TENSOR_PARAMETERS]
    named = [key for key in others if key in _REFUSED_PARAMETERS]
    _refuse_parameters(name, named, len(others) - len(named))


def _refuse_parameters(subject: str, named: Sequence[str], n_unknown: int) -> None:
    if named or n_unknown:
        listed = ", ".join([*named, *([f"{n_unknown} unknown"] if n_unknown else [])])
        raise InputError(
            f"{subject} has parameters that this server does not have: {listed}; leave them out"
        )


def texts_of_elements(elements: Sequence[object], shape: Sequence[int]) -> list[str]:
    """Return the texts of a tensor of that shape, row by row.

    Args:
        elements: strings, or bytes in UTF-8; readers of others let anything else through.
        shape: of the tensor.

    Raises:
        InputError: the number of elements does not fit the shape, there is none, or an element is
            no string, empty or not UTF-8.
    """
    if not _holds(shape, len(elements)):
        raise InputError(f"a shape of {len(shape)} axes does not hold {len(elements)} elements")
    strings = [e for e in elements if isinstance(e, bytes | str)]
    n_others = len(elements) - len(strings)
    if n_others:
        raise InputError(
            f"{n_others} of {len(elements)} elements of {INPUT} are no strings; send each text as "
            "a string"
        )
    try:
        texts = [e.decode("utf-8") if isinstance(e, bytes) else e for e in strings]
    except UnicodeDecodeError:
        raise InputError("a text is not UTF-8") from None
    if not texts:
        raise InputError(f"{INPUT} holds no element: there is nothing to judge")
    n_empty = sum(not text for text in texts)
    if n_empty:
        raise InputError(
            f"{n_empty} of {len(texts)} elements of {INPUT} are empty: there is nothing to judge "
            "in them; leave them out"
        )
    return texts


def _holds(shape: Sequence[int], n_elements: int) -> bool:
    """Return whether a tensor of `shape` has that many elements; the cost is that of few axes."""
    if len(shape) > _MAX_AXES or any(not 0 <= n <= n_elements for n in shape):
        return False
    return math.prod(shape) == n_elements


def texts_of_raw(raw: bytes, shape: Sequence[int]) -> list[str]:
    """Return the texts of raw contents; each has its length before it, 4 bytes, little-endian.

    Raises:
        InputError: the contents are cut, do not fit the shape, or an element is not UTF-8.
    """
    return texts_of_elements(list(_elements(raw)), shape)


def wanted_outputs(names: Sequence[str], judge: Judge) -> list[str]:
    """Return the outputs to send: those named, or all if none is named.

    Raises:
        InputError: a name is unknown.
    """
    known = _datatypes(judge)
    n_unknown = sum(name not in known for name in names)
    if n_unknown:
        raise InputError(f"{n_unknown} unknown outputs; there are {', '.join(known)}")
    return list(names) or list(known)


def reads_whole(wanted: Sequence[str]) -> bool:
    """Return whether outputs are scores, for which a caller may have a threshold of its own."""
    return not _SCORES.isdisjoint(wanted)


def outputs_of(
    wanted: Sequence[str], answers: Sequence[Answer], judge: Judge
) -> list[OutputTensor]:
    """Return the outputs wanted, filled from the answers of `judge` on n texts.

    Raises:
        InputError: a text was not understood, and no output that is wanted says so.
    """
    if not _SAY_SO.intersection(wanted):
        check_scores_suffice(judge, answers)
    labels = level_of(judge).labels
    datatypes = _datatypes(judge)
    return [
        OutputTensor(
            name=name,
            datatype=datatypes[name],
            shape=[len(answers) if n < 0 else n for n in _shape(name, labels)],
            values=_values(name, answers, judge),
        )
        for name in wanted
    ]


def _datatypes(judge: Judge) -> Mapping[str, str]:
    """Return the datatype of each output: verdicts of a gate, labels of a level alone."""
    if not isinstance(judge, Gate):
        return LABEL_OUTPUTS
    return OUTPUTS if judge.hazard_level is not None else {**OUTPUTS, **LABEL_OUTPUTS}


def _shape(name: str, labels: Sequence[str]) -> list[int]:
    """Return the shape of an output; -1 is the number of texts."""
    if name == "labels":
        return [len(labels)]
    return [-1] if name in OUTPUTS else [-1, len(labels)]


def _values(name: str, answers: Sequence[Answer], judge: Judge) -> list[Any]:
    """Return the values of an output, row by row."""
    if name in OUTPUTS:
        return [getattr(verdict_of(answer), name) for answer in answers]
    labels = level_of(judge).labels
    if name == "labels":
        return list(labels)
    rows = [labels_of(answer, judge) for answer in answers]
    if name == "scores":
        return [row.scores[label] for row in rows for label in labels]
    return [label in row.labels for row in rows for label in labels]


def _elements(raw: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        content = start + _LENGTH.size
        if content > len(raw):
            raise InputError("the raw contents end inside a length")
        (length,) = _LENGTH.unpack_from(raw, start)
        if content + length > len(raw):
            raise InputError("the raw contents end inside an element")
        yield raw[content : content + length]
        start = content + length
