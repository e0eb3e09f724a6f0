"""Parts that every open level has: a verified bundle, a variant, a session and a tokenizer."""

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import LevelSpec, TokenizerSpec
from hazgate.engine.engine import Engine
from hazgate.engine.exit_audit import OpenExits
from hazgate.engine.exit_files import open_exits
from hazgate.engine.providers.table import ProviderSpec
from hazgate.engine.session import Session
from hazgate.engine.variants import choose_variant
from hazgate.errors import BundleError
from hazgate.text.batching import pad, plan_batches
from hazgate.text.reading import Reading, within
from hazgate.text.tokenization import Tokenizer

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelParts:
    """Parts of one open level.

    Attributes:
        spec: the level, as the manifest describes it.
        variant: name of the variant that runs.
        provider: name of the execution provider.
        tokenizer: cuts the level's windows.
        session: runs the graph.
        workers: threads for several runs at a time; None for one.
        exits: the graph's early exits; None without.
    """

    spec: LevelSpec
    variant: str
    provider: str
    tokenizer: Tokenizer
    session: Session
    workers: "ThreadPoolExecutor | None"
    exits: OpenExits | None = None


def open_for(
    path: str | os.PathLike[str], asked: str | None, provider: ProviderSpec
) -> tuple[Bundle, str]:
    """Verify a bundle for the variant that is chosen for a provider; return both.

    Raises:
        BundleError: the bundle is not the exported one, or has no such variant.
    """
    choose = functools.partial(choose_variant, asked=asked, provider=provider)
    bundle = Bundle.open_variant(path, choose)
    return bundle, choose(bundle.manifest)


def open_parts(
    bundle: Bundle,
    level: str,
    *,
    per_token: bool,
    variant: str | None,
    engine: Engine,
    tokenizer: "Tokenizer | Future[Tokenizer] | None",
    reading: Reading,
) -> LevelParts:
    """Open a level's session and tokenizer.

    Args:
        bundle: a verified bundle.
        level: a name in its manifest.
        per_token: True for a token level, False for one of texts; the other kind is refused.
        variant: one of the level's variants; None takes the bundle's default.
        engine: the provider and threads to run on.
        tokenizer: a loaded tokenizer of the level, or one that another thread loads meanwhile.
        reading: the treatment of texts that are longer than one window.

    Raises:
        BundleError: no such level or variant, a level of the other kind, or the variant is not
            made for the provider.
        ProviderError: the provider is not available here.
    """
    spec = bundle.manifest.levels[bundle.manifest.level_named(level)]
    if spec.per_token and not per_token:
        raise BundleError(
            f"{level} is a token level, which gives spans of a text and no labels of it: open it "
            "with TokenClassifier.open"
        )
    if per_token and not spec.per_token:
        raise BundleError(
            f"{level} gives labels of a text and no spans in it: open it with Classifier.open"
        )
    name = variant if variant is not None else bundle.manifest.default_variant
    if name not in spec.variants:
        raise BundleError(f"{level} has no variant {name!r}, only {', '.join(spec.variants)}")
    chosen = spec.variants[name]
    provider = engine.placement.spec.name
    if provider not in chosen.execution_providers:
        raise BundleError(
            f"variant {name!r} of {level} was made for "
            f"{', '.join(chosen.execution_providers)}, not for {provider}"
        )
    # The session first: the tokenizer may be loading at the same time.
    exits = open_exits(bundle, level, name, engine.exits)
    session = engine.open_level(bundle, level, name, None if exits is None else exits.exits)
    if tokenizer is None:
        windows = served_windows(spec.tokenizer, reading, engine)
        tokenizer = Tokenizer(bundle.read(windows.file), windows)
    return LevelParts(
        spec=spec,
        variant=name,
        provider=provider,
        tokenizer=tokenizer if isinstance(tokenizer, Tokenizer) else tokenizer.result(),
        session=session,
        workers=_pool(engine.workers, level) if engine.workers > 1 else None,
        exits=exits,
    )


def served_windows(spec: TokenizerSpec, reading: Reading, engine: Engine) -> TokenizerSpec:
    """Return a level's windows as they are asked for, and no longer than the engine's shapes.

    Raises:
        BundleError: the bundle was not proven on such windows.
    """
    windows = reading.windows_of(spec)
    if engine.placement.spec.static_shapes and engine.shapes.buckets:
        windows = within(windows, max(bucket.tokens for bucket in engine.shapes.buckets))
    return windows


def run_rows(
    session: Session,
    rows: Sequence[Sequence[int]],
    spec: LevelSpec,
    variant: str,
    *,
    max_batch_tokens: int,
    workers: "ThreadPoolExecutor | None",
    may_leave: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Run rows of token ids in batches, as the variant's arithmetic allows.

    Args:
        session: of the level's graph.
        rows: token ids of each row, special ones included.
        spec: the level.
        variant: name of the variant that runs.
        max_batch_tokens: the most that a batch computes; a longer row has its own.
        workers: threads for several runs at a time; None for one.
        may_leave: True for rows that may leave early; None if the graph has no early exits.

    Yields:
        Indices of a batch's rows, and its logits [rows, …], padded as the batch is.

    Raises:
        InferenceError: the model failed or gave a logit that is not finite.
    """
    batches = plan_batches(
        [len(row) for row in rows], max_batch_tokens, spec.variants[variant].batching
    )
    # Longest first: a worker that is done early then finds a short batch.
    batches.reverse()

    def run(batch: list[int]) -> NDArray[np.float32]:
        input_ids, mask = pad([rows[i] for i in batch], spec.tokenizer.pad_token_id)
        return session.run(input_ids, mask, None if may_leave is None else may_leave[batch])

    runs = map(run, batches) if workers is None else workers.map(run, batches)
    yield from zip(batches, runs, strict=True)


def _pool(workers: int, level: str) -> "ThreadPoolExecutor":
    # A classifier with one worker does not wait for this import.
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers, thread_name_prefix=f"hazgate-{level}")
