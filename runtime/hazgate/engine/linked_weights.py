"""Weights behind links: mapped here, because ONNX Runtime refuses to follow them."""

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


def map_linked_weights(graph: Path, data: Sequence[Path]) -> Mapping[str, mmap.mmap]:
    """Map the files of `data` if any of them is not where its name says.

    From 1.24 on, ONNX Runtime resolves the names of weights by itself and refuses those that lead
    out of the graph's folder: links of the Hub's cache in some releases, links into another
    container (KServe's modelcars) in all. The bundle has verified what is behind them.

    Args:
        graph: the ONNX file.
        data: its files of weights.

    Returns:
        Maps by the name that the graph has for each file; none if there are no links.

    Raises:
        OSError: a file cannot be mapped.
    """
    folder = graph.parent
    if not any(_linked(folder, file) for file in data):
        return {}
    return dict(_map({Path(os.path.relpath(file, folder)).as_posix(): file for file in data}))


def _linked(folder: Path, file: Path) -> bool:
    by_name = os.path.realpath(folder), os.path.realpath(file)
    return os.path.relpath(by_name[1], by_name[0]) != os.path.relpath(file, folder) or not (
        Path(by_name[1]).exists()
    )


def _map(files: Mapping[str, Path]) -> Iterator[tuple[str, mmap.mmap]]:
    for name, file in files.items():
        with file.open("rb") as stream:
            # The map outlives the file's descriptor.
            yield name, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
