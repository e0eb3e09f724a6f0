"""The tensors of KServe's Open Inference Protocol, version 2, as HTTP and gRPC share them. Pure.

One model: its input is `text`, BYTES [n]; its outputs are `unsafe`, P(unsafe) of each text,
FP32 [n], and `flagged`, BOOL [n]. Raw contents are as Triton's binary extension has them.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hazgate.errors import InputError
from hazgate.judging.verdict import Verdict

PLATFORM = "onnx_onnxv1"
INPUT, INPUT_DATATYPE = "text", "BYTES"
OUTPUTS: Mapping[str, str] = {"unsafe": "FP32", "flagged": "BOOL"}
_RAW_TYPES: Mapping[str, type[np.generic]] = {"FP32": np.float32, "BOOL": np.bool_}
_LENGTH = struct.Struct("<I")


def check_input(inputs: Sequence[tuple[str, str]]) -> None:
    """Takes the name and datatype of each input.

    Raises:
        InputError: they are not those of the one input that there is.
    """
    if list(inputs) != [(INPUT, INPUT_DATATYPE)]:
        raise InputError(f"expected one input, {INPUT} of datatype {INPUT_DATATYPE}")


def texts_of_elements(elements: Sequence[bytes | str], shape: Sequence[int]) -> list[str]:
    """The texts of a tensor of that shape, row by row.

    Raises:
        InputError: there are more or fewer than the shape says, or one is not UTF-8.
    """
    if min(shape, default=0) < 0 or math.prod(shape) != len(elements):
        raise InputError(f"a shape of {len(shape)} axes does not hold {len(elements)} elements")
    try:
        return [e.decode("utf-8") if isinstance(e, bytes) else e for e in elements]
    except UnicodeDecodeError:
        raise InputError("a text is not UTF-8") from None


def elements_of_raw(raw: bytes) -> list[bytes]:
    """Elements that each come behind their length in four bytes, little-endian.

    Raises:
        InputError: a length points behind the end.
    """
    return list(_elements(raw))


def raw_of_output(name: str, verdicts: Sequence[Verdict]) -> bytes:
    """An output's values as they lie in memory, little-endian."""
    values = np.asarray(values_of_output(name, verdicts), dtype=_RAW_TYPES[OUTPUTS[name]])
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def values_of_output(name: str, verdicts: Sequence[Verdict]) -> list[float | bool]:
    """An output's values, one a text."""
    return [getattr(verdict, name) for verdict in verdicts]


def wanted_outputs(names: Sequence[str]) -> list[str]:
    """The outputs to send: those named, all if none is.

    Raises:
        InputError: one is unknown.
    """
    n_unknown = sum(name not in OUTPUTS for name in names)
    if n_unknown:
        raise InputError(f"{n_unknown} unknown outputs; there are {', '.join(OUTPUTS)}")
    return list(names) or list(OUTPUTS)


def _elements(raw: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        content = start + _LENGTH.size
        if content > len(raw):
            raise InputError("the raw contents end inside of a length")
        (length,) = _LENGTH.unpack_from(raw, start)
        if content + length > len(raw):
            raise InputError("the raw contents end inside of an element")
        yield raw[content : content + length]
        start = content + length
