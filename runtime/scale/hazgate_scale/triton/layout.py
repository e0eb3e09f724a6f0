"""Layout of a repository: its models and their shapes. Pure.

Triton's batcher merges requests along the first axis, and only if their other axes are equal: it
does not pad. Its alternative, `allow_ragged_batch`, gives the model one flat row and offsets,
which no graph of a bundle takes. So the manifest's `batching` of a variant decides the batcher's
configuration:

- padded: rows of any length; Triton merges rows that callers padded to one length;
- packed: the same, and padding costs nothing;
- equal_length: rows of any length, unpadded; Triton's own rule is right;
- alone: max_batch_size is 1, without a batcher.

A provider that compiles a program per shape gets one model per length, and callers pad. Texts,
unlike rows, all have one shape: the model that decides takes any texts together, and hazgate
makes rows and batches of them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hazgate.bundle.manifest import LevelSpec, Manifest, VariantSpec
from hazgate.documents.problems import list_problems
from hazgate.engine.buckets import default_buckets
from hazgate.engine.providers.table import CPU, ProviderSpec, find_provider
from hazgate.engine.variants import choose_variant
from hazgate.errors import BundleError
from hazgate_scale.triton.options import RepositoryOptions

DECIDES = "hazgate"
# Valid in Triton's folders and URLs and on file systems.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelModel:
    """A level's graph as a model of the ONNX Runtime backend.

    `tokens` is the length of every row, None if rows may have any length.
    """

    name: str
    level: str
    spec: LevelSpec
    variant: VariantSpec
    tokens: int | None
    max_batch_size: int

    @property
    def longest(self) -> int:
        """Tokens of the longest row that hazgate sends."""
        return self.tokens or self.spec.tokenizer.window_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class RepositoryLayout:
    """Models of a repository except the one that decides, and the variant they run."""

    variant: str
    provider: ProviderSpec
    levels: tuple[LevelModel, ...]


def choose_layout(manifest: Manifest, options: RepositoryOptions) -> RepositoryLayout:
    """Choose the models of a bundle's repository.

    Raises:
        BundleError: the bundle cannot be served like this; names every reason.
    """
    provider = find_provider(options.provider)
    variant = options.variant or manifest.default_variant
    if provider.name != CPU:
        variant = choose_variant(manifest, options.variant, provider)
    cascade = manifest.cascade_for("a model repository")
    names = (cascade.level1, cascade.level2)
    problems = [
        problem
        for name in names
        for problem in _problems(name, manifest.levels[name], variant, provider, options)
    ]
    if problems:
        raise BundleError(
            f"{manifest.name} cannot be served by Triton like this:{list_problems(problems)}"
        )
    return RepositoryLayout(
        variant=variant,
        provider=provider,
        levels=tuple(
            model
            for name in names
            for model in _models(name, manifest.levels[name], variant, provider, options)
        ),
    )


def _problems(
    name: str, level: LevelSpec, variant: str, provider: ProviderSpec, options: RepositoryOptions
) -> Iterator[str]:
    if not _NAME.fullmatch(name) or name == DECIDES:
        yield f"{name!r} cannot be the name of a model next to {DECIDES}"
    if level.columns is not None:
        yield f"{name} shares its graph with other levels, and a model of Triton has one level"
    too_long = [n for n in options.buckets if n > level.tokenizer.max_tokens]
    if too_long:
        yield f"{name} was proven on {level.tokenizer.max_tokens} tokens, not {too_long}"
    chosen = level.variants.get(variant)
    if chosen is None:
        yield f"{name} has no variant {variant!r}, only {', '.join(level.variants)}"
        return
    if provider.name not in chosen.execution_providers:
        made_for = ", ".join(chosen.execution_providers)
        yield f"variant {variant!r} of {name} was made for {made_for}, not {provider.name}"
    if provider.static_shapes and chosen.batching in ("equal_length", "alone"):
        yield f"variant {variant!r} of {name} takes no padding, {provider.name} only fixed shapes"
    if chosen.kind == "fused" and options.kernels is None:
        yield (
            f"variant {variant!r} of {name} uses hazgate-kernels' operators, which plain "
            "ONNX Runtime does not have: give --kernels, the path of their library on the server, "
            "or another --variant"
        )
    if chosen.exits is not None and options.engine == "backend":
        yield (
            f"variant {variant!r} of {name} has early exits, whose inputs Triton's ONNX Runtime "
            "backend does not give: serve it in-process, or another --variant"
        )


def _models(
    name: str, level: LevelSpec, variant: str, provider: ProviderSpec, options: RepositoryOptions
) -> Iterator[LevelModel]:
    chosen = level.variants[variant]
    lengths: tuple[int | None, ...] = (None,)
    if provider.static_shapes:
        window = default_buckets(level.tokenizer.window_tokens)
        lengths = tuple(sorted(set(options.buckets) or {bucket.tokens for bucket in window}))
    for tokens in lengths:
        yield LevelModel(
            name=name if tokens is None else f"{name}_{tokens}",
            level=name,
            spec=level,
            variant=chosen,
            tokens=tokens,
            max_batch_size=1 if chosen.batching == "alone" else options.max_batch_size,
        )
