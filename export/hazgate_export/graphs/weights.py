"""Weights on disk: tensors that several graphs share are stored once.

LoRA never touches the embedding table, and quantisation leaves norms and biases alone, so levels
and variants share them. Each file of weights holds the tensors of one set of graphs and is named
by them: serving one variant reads and verifies no other variant's bytes. Tensors are compared by
their bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx import GraphProto, ModelProto, TensorProto
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from hazgate.cli.progress import track

# ONNX Runtime maps external data page by page.
_ALIGNMENT_BYTES = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenGraph:
    """A graph of a bundle and the weight files that it maps, as paths inside the bundle."""

    graph: str
    data: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Position of a tensor's bytes."""

    location: str
    offset: int
    length: int


def write_graphs(graphs: Mapping[str, Path], root: Path) -> dict[str, WrittenGraph]:
    """Write graphs into the bundle directory `root`, each tensor once.

    Args:
        graphs: name of each graph and the ONNX file it is in now; a file that several name is
            written once, by its first name.
        root: receives `NAME.onnx` and, for every set of graphs that share tensors,
            `weights/NAME+NAME.bin`.

    Returns:
        The written graph and its weight files, by name.
    """
    (root / "weights").mkdir(parents=True)
    first: dict[Path, str] = {}
    for name, file in graphs.items():
        first.setdefault(file, name)
    users: dict[bytes, dict[str, None]] = {}
    for file, name in first.items():
        for tensor in _external_tensors(_load(file), file.parent):
            users.setdefault(_digest(tensor), {})[name] = None
    locations = {digest: f"weights/{'+'.join(names)}.bin" for digest, names in users.items()}
    places: dict[bytes, _Place] = {}
    with ExitStack() as stack:
        streams = {
            location: stack.enter_context((root / location).open("wb"))
            for location in sorted(set(locations.values()))
        }
        written = {
            file: _write_graph(name, file, root, locations, places, streams)
            for file, name in track(list(first.items()), "write weights")
        }
    return {name: written[file] for name, file in graphs.items()}


def _write_graph(
    name: str,
    file: Path,
    root: Path,
    locations: Mapping[bytes, str],
    places: dict[bytes, _Place],
    streams: Mapping[str, BinaryIO],
) -> WrittenGraph:
    model = _load(file)
    used = set()
    for tensor in _external_tensors(model, file.parent):
        digest = _digest(tensor)
        location = locations[digest]
        if digest not in places:
            places[digest] = _append(location, streams[location], tensor.raw_data)
        used.add(location)
        _point_to(tensor, places[digest])
    (root / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    return WrittenGraph(graph=f"{name}.onnx", data=tuple(sorted(used)))


def _load(file: Path) -> ModelProto:
    return onnx.load(file, load_external_data=False)


def _external_tensors(model: ModelProto, folder: Path) -> Iterator[TensorProto]:
    """Yield the graph's large tensors with their bytes; each is dropped before the next."""
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


def _append(location: str, stream: BinaryIO, data: bytes) -> _Place:
    offset = -(-stream.tell() // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    stream.seek(offset)
    stream.write(data)
    return _Place(location=location, offset=offset, length=len(data))


def _point_to(tensor: TensorProto, place: _Place) -> None:
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key in ("location", "offset", "length"):
        tensor.external_data.add(key=key, value=str(getattr(place, key)))
