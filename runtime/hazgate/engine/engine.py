"""A level's graph on the provider that serves: one session, or one a shape, opened and proven."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.bundle import Bundle
from hazgate.engine.buckets import Bucket, default_buckets
from hazgate.engine.canaries import Canaries, Canary, check_canaries, tolerance_of
from hazgate.engine.programs import ProgramKey, program_folder
from hazgate.engine.providers.choose import Placement
from hazgate.engine.providers.host import Host
from hazgate.engine.session import OrtSession, Session
from hazgate.engine.static_shapes import OpenedBucket, open_buckets

OnOpen = Callable[[str, OpenedBucket], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """What a provider that compiles is given; of no meaning to others.

    `buckets` of None are powers of two up to the window. `programs` is the folder of compiled
    programs; None compiles at every start. `on_open` is told of each level's each bucket.
    """

    buckets: tuple[Bucket, ...] | None = None
    programs: Path | None = None
    on_open: OnOpen | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """Where and how graphs are opened: the same for every level of a gate."""

    placement: Placement
    host: Host
    threads: int
    workers: int = 1
    shapes: Shapes = Shapes()

    def open_level(self, bundle: Bundle, level: str, variant: str) -> Session:
        """A session of one level.

        Raises:
            ProviderError: the provider does not own the graph, or computes something else.
            BundleError: the graph cannot be loaded, or has another signature.
        """
        spec = bundle.manifest.levels[level]
        chosen = spec.variants[variant]
        canaries = canaries_of(bundle, level)

        def open_one(bucket: Bucket | None, programs: Path | None) -> OrtSession:
            return OrtSession(
                bundle.file(chosen.graph),
                kind=chosen.kind,
                n_labels=len(spec.labels),
                threads=self.threads,
                placement=self.placement,
                bucket=bucket,
                programs=programs,
            )

        def prove(session: Session, rows: Sequence[Canary], name: str) -> None:
            if rows:
                check_canaries(session, rows, name=name, tolerance=tolerance_of(chosen))

        if not self.placement.spec.static_shapes:
            session = open_one(None, None)
            if self.placement.spec.gpu is not None:
                prove(session, canaries, f"{level} {variant}")
            return session
        buckets = self.shapes.buckets or default_buckets(spec.tokenizer.window_tokens)
        key = program_key(bundle, level, variant, self.placement, self.host)

        def open_bucket(bucket: Bucket) -> Session:
            def proven(programs: Path | None) -> Session:
                session = open_one(bucket, programs)
                # Through the padding that requests take, too.
                whole = open_buckets(
                    [bucket],
                    lambda _: session,
                    sessions_per_bucket=1,
                    pad_token_id=spec.tokenizer.pad_token_id,
                )
                fitting = [c for c in canaries if len(c.input_ids) <= bucket.tokens]
                prove(whole, fitting, f"{level} {variant} {bucket}")
                return session

            if self.shapes.programs is None:
                return proven(None)
            with program_folder(self.shapes.programs, key, bucket) as (folder, _):
                return proven(folder)

        def on_open(opened: OpenedBucket) -> None:
            if self.shapes.on_open is not None:
                self.shapes.on_open(level, opened)

        return open_buckets(
            buckets,
            open_bucket,
            sessions_per_bucket=self.workers,
            pad_token_id=spec.tokenizer.pad_token_id,
            on_open=on_open,
        )


def canaries_of(bundle: Bundle, level: str) -> tuple[Canary, ...]:
    """A level's canaries; none in a bundle that was built before there were any."""
    file = bundle.manifest.canaries
    return () if file is None else Canaries.load(bundle.file(file)).levels.get(level, ())


def program_key(
    bundle: Bundle, level: str, variant: str, placement: Placement, host: Host
) -> ProgramKey:
    """What a compiled program of that level depends on, on this host."""
    spec = bundle.manifest.levels[level].variants[variant]
    digests = [bundle.manifest.files[name].sha256 for name in (spec.graph, *spec.data)]
    return ProgramKey(
        model_sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
        gfx=placement.gfx or "none",
        versions={
            **host.distributions,
            **host.plug_ins,
            "onnxruntime imported": host.ort_version,
            "provider": placement.spec.name,
            "rocm": host.rocm or "none",
            "migraphx": " ".join(host.migraphx) or "none",
        },
        precision=spec.precision,
        environment=host.environment,
    )
