"""Preflight of a file or of a bundle's variants."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hazgate.bundle.bundle import Bundle
from hazgate.errors import BundleError
from hazgate_export.preflight.rules import PreflightResult, judge
from hazgate_export.preflight.table import ProviderRelease
from hazgate_export.preflight.view import provider_view, symbolic_names

# Rows of a run on a device; the verdict is the same for any other number.
DEFAULT_BATCH = 8
DEFAULT_SEQUENCE = 512


def preflight_graph(
    graph: Path, targets: Sequence[ProviderRelease], shape: tuple[int, int]
) -> tuple[PreflightResult, ...]:
    """Judge a graph file for each target, its inputs [batch, sequence] fixed to `shape`.

    Raises:
        BundleError: the file cannot be opened.
    """
    dimensions = {
        name: size
        for names in symbolic_names(graph)
        for name, size in zip(names, shape, strict=False)
        if name
    }
    view = provider_view(graph, dimensions)
    return tuple(judge(view, target, graph=graph.name, shape=shape) for target in targets)


def preflight_path(
    path: Path, targets: Sequence[ProviderRelease], shape: tuple[int, int] | None
) -> tuple[PreflightResult, ...]:
    """Judge a graph file, or every variant of a bundle that names a target's provider.

    Args:
        path: an ONNX file or a bundle's directory.
        targets: the releases to judge for.
        shape: of the inputs; by default 8 rows of 512 tokens, in a bundle of a window's.

    Raises:
        BundleError: `path` is neither, or no variant is for any of these providers.
    """
    if not path.is_dir():
        if not path.is_file():
            raise BundleError(f"{path} is neither a graph nor a bundle")
        return preflight_graph(path, targets, shape or (DEFAULT_BATCH, DEFAULT_SEQUENCE))
    found = tuple(_judge_bundle(Bundle.open(path), targets, shape))
    if not found:
        providers = ", ".join(sorted({target.provider for target in targets}))
        raise BundleError(f"no variant of {path} is for {providers}")
    return found


def _judge_bundle(
    bundle: Bundle, targets: Sequence[ProviderRelease], shape: tuple[int, int] | None
) -> Iterator[PreflightResult]:
    for body in bundle.manifest.bodies():
        # Levels on one body have the same graphs.
        level = bundle.manifest.levels[body[0]]
        for variant in level.variants.values():
            fitting = [t for t in targets if t.provider in variant.execution_providers]
            if fitting:
                dims = shape or (DEFAULT_BATCH, level.tokenizer.window_tokens)
                yield from preflight_graph(bundle.file(variant.graph), fitting, dims)
