"""Tensors of KServe's Open Inference Protocol, version 2, as HTTP and gRPC share them. Pure.

There is one model. Its input is `text`, BYTES [n]; its outputs are `unsafe`, P(unsafe) of each
text, FP32 [n], and `flagged`, BOOL [n]. Raw contents have the form of Triton's binary extension.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hazgate.errors import InputError
from hazgate.judging.verdict import Verdict

SERVER = "hazgate"
PLATFORM = "onnx_onnxv1"
INPUT, INPUT_DATATYPE = "text", "BYTES"
OUTPUTS: Mapping[str, str] = {"unsafe": "FP32", "flagged": "BOOL"}
_RAW_TYPES: Mapping[str, type[np.generic]] = {"FP32": np.float32, "BOOL": np.bool_}
_LENGTH = struct.Struct("<I")


def input_tensors() -> list[dict[str, Any]]:
    """Describe the input for the model's metadata: its name, datatype and shape."""
    return [_described(INPUT, INPUT_DATATYPE)]


def output_tensors() -> list[dict[str, Any]]:
    """Describe the outputs for the model's metadata: their names, datatypes and shapes."""
    return [_described(name, datatype) for name, datatype in OUTPUTS.items()]


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


def texts_of_elements(elements: Sequence[bytes | str], shape: Sequence[int]) -> list[str]:
    """Return the texts of a tensor of that shape, row by row.

    Raises:
        InputError: the number of elements does not fit the shape, or an element is not UTF-8.
    """
    if min(shape, default=0) < 0 or math.prod(shape) != len(elements):
        raise InputError(f"a shape of {len(shape)} axes does not hold {len(elements)} elements")
    try:
        return [e.decode("utf-8") if isinstance(e, bytes) else e for e in elements]
    except UnicodeDecodeError:
        raise InputError("a text is not UTF-8") from None


def texts_of_raw(raw: bytes, shape: Sequence[int]) -> list[str]:
    """Return the texts of raw contents; each has its length before it, 4 bytes, little-endian.

    Raises:
        InputError: the contents are cut, do not fit the shape, or an element is not UTF-8.
    """
    return texts_of_elements(list(_elements(raw)), shape)


def raw_of_output(name: str, verdicts: Sequence[Verdict]) -> bytes:
    """Return an output's values as raw contents, little-endian."""
    values = np.asarray(values_of_output(name, verdicts), dtype=_RAW_TYPES[OUTPUTS[name]])
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def values_of_output(name: str, verdicts: Sequence[Verdict]) -> list[float | bool]:
    """Return an output's values, one for each text."""
    return [getattr(verdict, name) for verdict in verdicts]


def wanted_outputs(names: Sequence[str]) -> list[str]:
    """Return the outputs to send: those named, or all if none is named.

    Raises:
        InputError: a name is unknown.
    """
    n_unknown = sum(name not in OUTPUTS for name in names)
    if n_unknown:
        raise InputError(f"{n_unknown} unknown outputs; there are {', '.join(OUTPUTS)}")
    return list(names) or list(OUTPUTS)


def _described(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


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
