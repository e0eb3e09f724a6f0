"""Weights on disk: what several graphs have in common is stored once.

LoRA never touches the embedding table, and quantisation leaves it alone, so both levels and all
variants share it; the norms and biases likewise. Tensors are compared by their bytes.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx import GraphProto, ModelProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from hazgate_export.progress import track

SHARED_FILE = "weights/shared.bin"

# ONNX Runtime maps external data page by page.
_ALIGNMENT_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenGraph:
    """A graph of a bundle and the weight files that it maps, as paths inside the bundle."""

    graph: str
    data: tuple[str, ...]


def write_graphs(graphs: Mapping[str, Path], root: Path) -> dict[str, WrittenGraph]:
    """Writes graphs into the bundle directory `root`, each tensor once.

    Args:
        graphs: name of each graph and the ONNX file it is in now.
        root: receives `NAME.onnx`, `weights/NAME.bin` and `weights/shared.bin`.

    Returns:
        For each name, what was written.
    """
    (root / "weights").mkdir(parents=True)
    uses: Counter[bytes] = Counter()
    for file in graphs.values():
        uses.update({_digest(tensor) for tensor in _external_tensors(_load(file), file.parent)})
    written = {}
    shared: dict[bytes, tuple[int, int]] = {}
    with (root / SHARED_FILE).open("wb") as shared_stream:
        for name, file in track(list(graphs.items()), "write weights"):
            written[name] = _write_graph(name, file, root, uses, shared, shared_stream)
    if not shared:
        (root / SHARED_FILE).unlink()
    return written


def _write_graph(
    name: str,
    file: Path,
    root: Path,
    uses: Mapping[bytes, int],
    shared: dict[bytes, tuple[int, int]],
    shared_stream: BinaryIO,
) -> WrittenGraph:
    model = _load(file)
    own_file = f"weights/{name}.bin"
    own: dict[bytes, tuple[int, int]] = {}
    used = set()
    with (root / own_file).open("wb") as own_stream:
        for tensor in _external_tensors(model, file.parent):
            digest = _digest(tensor)
            is_shared = uses[digest] > 1
            places, stream = (shared, shared_stream) if is_shared else (own, own_stream)
            if digest not in places:
                places[digest] = _append(stream, tensor.raw_data)
            location = SHARED_FILE if is_shared else own_file
            used.add(location)
            _point_to(tensor, location, *places[digest])
    if own_file not in used:
        (root / own_file).unlink()
    (root / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    return WrittenGraph(graph=f"{name}.onnx", data=tuple(sorted(used)))


def _load(file: Path) -> ModelProto:
    return onnx.load(file, load_external_data=False)


def _external_tensors(model: ModelProto, folder: Path) -> Iterator[TensorProto]:
    """The graph's large tensors with their bytes read, each forgotten once the next is taken."""
    for tensor in _tensors(model.graph):
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, str(folder))
            yield tensor
            tensor.ClearField("raw_data")


def _tensors(graph: GraphProto) -> Iterable[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _digest(tensor: TensorProto) -> bytes:
    header = f"{tensor.data_type}:{list(tensor.dims)}:".encode()
    return hashlib.sha256(header + tensor.raw_data).digest()


def _append(stream: BinaryIO, data: bytes) -> tuple[int, int]:
    offset = -(-stream.tell() // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    stream.seek(offset)
    stream.write(data)
    return offset, len(data)


def _point_to(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
