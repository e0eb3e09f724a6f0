"""Weights that ONNX Runtime reads from maps: it does not follow links."""

import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


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


def use_linked_weights(
    options: Any,  # noqa: ANN401 - ONNX Runtime's, which one file alone knows
    graph: Path,
    data: Sequence[Path],
) -> Mapping[str, mmap.mmap]:
    """Hand weights that are links to ONNX Runtime as maps, which are not copied; return them.

    Args:
        options: of the session to be.
        graph: as of `map_linked_weights`.
        data: as of `map_linked_weights`.

    Raises:
        OSError: a file cannot be mapped.
    """
    maps = map_linked_weights(graph, data)
    # Releases without this option, before 1.24, follow links.
    if hasattr(options, "add_external_initializers_from_files_in_memory"):
        use_maps(options, maps)
    return maps


def use_maps(
    options: Any,  # noqa: ANN401 - ONNX Runtime's, which one file alone knows
    maps: Mapping[str, mmap.mmap],
) -> None:
    """Have ONNX Runtime read weights from maps, by the graph's names for them."""
    if maps:
        options.add_session_config_entry(
            "session.use_external_initializer_file_buffers_directly", "1"
        )
        options.add_external_initializers_from_files_in_memory(
            list(maps), list(maps.values()), [len(mapped) for mapped in maps.values()]
        )


def release_pages(maps: Mapping[str, mmap.mmap]) -> None:
    """Take mapped pages out of this process: those that a run needs come back by themselves.

    ONNX Runtime has packed most weights by now, and its own maps would be gone.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        for mapped in maps.values():
            mapped.madvise(mmap.MADV_DONTNEED)


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
