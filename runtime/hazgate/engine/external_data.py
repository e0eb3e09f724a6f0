"""The files that an ONNX graph says its weights are in, read without the onnx package. Pure.

Source: onnx.proto of ONNX 1.19, whose field numbers never change, and the encoding of Protocol
Buffers, https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator, Mapping

from hazgate.errors import BundleError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
# Fields that lead to a tensor, by message.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "SparseTensor",
        23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
# A graph within a graph is as deep as its control flow.
_MAX_DEPTH = 64


def external_files(graph: bytes, name: str) -> frozenset[str]:
    """Return the names of all files that a graph's tensors are in, as the graph spells them.

    Args:
        graph: a serialised ModelProto.
        name: its file, for errors.

    Raises:
        BundleError: it is not a ModelProto.
    """
    try:
        return frozenset(_locations(memoryview(graph), "Model", 0))
    except (IndexError, ValueError) as error:
        raise BundleError(f"{name} is not an ONNX graph: {error}") from error


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} messages within one another")
    if kind == "Entry":
        entry = {number: bytes(value).decode() for number, value in _fields(message)}
        if entry.get(1) == "location":
            yield entry.get(2, "")
        return
    inner = _FIELDS[kind]
    for number, value in _fields(message):
        if number in inner:
            yield from _locations(value, inner[number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and value of each field that has a length; the others hold no message."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, at = _varint(message, at)
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        elif wire == _LENGTH:
            n_bytes, at = _varint(message, at)
            if n_bytes > end - at:
                raise ValueError("a field is longer than its message")
            yield number, message[at : at + n_bytes]
            at += n_bytes
        else:
            raise ValueError(f"a field of wire type {wire}")
    if at > end:
        raise ValueError("a field is longer than its message")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number at `at` and the place behind it."""
    value = message[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for shift in range(7, 70, 7):
        at += 1
        byte = message[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
    raise ValueError("a number of more than ten bytes")
