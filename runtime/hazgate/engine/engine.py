"""A level's graph on the provider that serves: opened and proven, one session or one per shape."""

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.bundle import Bundle
from hazgate.bundle.manifest import LevelSpec, VariantSpec
from hazgate.engine.buckets import Bucket, default_buckets
from hazgate.engine.canaries import Canaries, Canary, check_canaries, tolerance_of
from hazgate.engine.exits import Exits
from hazgate.engine.logit_store import LogitStore
from hazgate.engine.options import ANY_SHAPES, OWN_EXITS, EngineOptions, ExitOptions, Shapes
from hazgate.engine.processor import threads_per_run
from hazgate.engine.programs import ProgramKey, program_folder
from hazgate.engine.providers.choose import Placement, choose_placement
from hazgate.engine.providers.host import Host
from hazgate.engine.sealed_graph import SealedGraph
from hazgate.engine.session import OrtSession, Session, ort_host
from hazgate.engine.static_shapes import BucketedSession, OpenedBucket, open_buckets


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelCanaries:
    """A level's texts with known logits, and its columns of the graph's logits."""

    level: str
    columns: slice
    canaries: tuple[Canary, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _LevelGraph:
    """One body's graph in one variant, with the texts whose logits are known.

    `level` is one of its levels; `canaries` has all of them.
    """

    name: str
    file: Path
    data: tuple[Path, ...]
    sealed: SealedGraph
    level: LevelSpec
    variant: VariantSpec
    canaries: tuple[LevelCanaries, ...]
    exits: Exits | None

    @property
    def pad_token_id(self) -> int:
        """The id that fills rows."""
        return self.level.tokenizer.pad_token_id

    def prove(self, session: Session, *, bucket: str = "", max_tokens: int | None = None) -> None:
        """Compare the session's logits with the bundle's, of canaries of up to `max_tokens`.

        Raises:
            ProviderError: they differ by more than the variant's tolerance.
        """
        for of_level in self.canaries:
            fitting = [
                each
                for each in of_level.canaries
                if max_tokens is None or len(each.input_ids) <= max_tokens
            ]
            if fitting:
                check_canaries(
                    session,
                    fitting,
                    name=f"{of_level.level} {self.name} {bucket}".rstrip(),
                    tolerance=tolerance_of(self.variant),
                    columns=of_level.columns,
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A provider on this host, and the way in which every graph of a gate is opened on it.

    All levels that are opened on it share its store of logits, if it has one.
    """

    placement: Placement
    host: Host
    threads: int
    workers: int = 1
    shapes: Shapes = ANY_SHAPES
    store: LogitStore | None = None
    exits: ExitOptions = OWN_EXITS

    @classmethod
    def of(cls, options: EngineOptions, host: Host | None = None) -> "Engine":
        """Choose the provider and divide the processors as the options say.

        Args:
            options: the choice.
            host: this host's facts, if they are known already.

        Raises:
            ProviderError: no onnxruntime is installed, or it has none of the providers.
        """
        known = host or ort_host()
        return cls(
            placement=choose_placement(options.providers, known, device_id=options.device_id),
            host=known,
            threads=threads_per_run(options.threads, n_runs=options.workers),
            workers=options.workers,
            shapes=options.shapes,
            store=LogitStore.of(options.store),
            exits=options.exits,
        )

    def open_level(
        self, bundle: Bundle, level: str, variant: str, exits: Exits | None = None
    ) -> Session:
        """Open a session of one level, and of all others on its body.

        Args:
            bundle: a verified bundle.
            level: a name in its manifest.
            variant: one of the level's variants.
            exits: of a variant with early exits; see hazgate.engine.exit_files.

        Raises:
            ProviderError: the provider does not own the graph, or computes something else.
            BundleError: the graph cannot be loaded, has another signature, or names weights that
                its variant does not list.
            IntegrityError: a file was changed or replaced while it was opened.
        """
        spec = bundle.manifest.levels[level]
        chosen = spec.variants[variant]
        file = bundle.file(chosen.graph)
        graph = _LevelGraph(
            name=variant,
            file=file,
            data=tuple(map(bundle.file, chosen.data)),
            sealed=SealedGraph(
                folder=file.parent,
                graph=bundle.sealed(chosen.graph),
                data={bundle.file(name): bundle.sealed(name) for name in chosen.data},
            ),
            level=spec,
            variant=chosen,
            canaries=tuple(canaries_of(bundle, name) for name in bundle.manifest.body_of(level)),
            exits=exits,
        )
        if not self.placement.spec.static_shapes:
            session = self._open(graph)
            if self.placement.spec.gpu is not None:
                graph.prove(session)
            return session
        key = program_key(bundle, level, variant, self.placement, self.host)
        return open_buckets(
            self.shapes.buckets or default_buckets(spec.tokenizer.window_tokens),
            functools.partial(self._open_bucket, graph, key),
            sessions_per_bucket=self.workers,
            pad_token_id=graph.pad_token_id,
            on_open=functools.partial(self._tell, level),
        )

    def _open(
        self, graph: _LevelGraph, bucket: Bucket | None = None, programs: Path | None = None
    ) -> OrtSession:
        return OrtSession(
            graph.file,
            data=graph.data,
            sealed=graph.sealed,
            kind=graph.variant.kind,
            n_labels=graph.level.n_logits,
            threads=self.threads,
            per_token=graph.level.per_token,
            placement=self.placement,
            bucket=bucket,
            programs=programs,
            exits=graph.exits,
        )

    def _open_bucket(self, graph: _LevelGraph, key: ProgramKey, bucket: Bucket) -> Session:
        if self.shapes.programs is None:
            return self._open_proven(graph, bucket, None)
        with program_folder(self.shapes.programs, key, bucket) as folder:
            return self._open_proven(graph, bucket, folder)

    def _open_proven(self, graph: _LevelGraph, bucket: Bucket, programs: Path | None) -> Session:
        session = self._open(graph, bucket, programs)
        # Proven through the padding that requests get, too.
        padded = BucketedSession({bucket: [session]}, pad_token_id=graph.pad_token_id)
        graph.prove(padded, bucket=str(bucket), max_tokens=bucket.tokens)
        return session

    def _tell(self, level: str, opened: OpenedBucket) -> None:
        if self.shapes.on_open is not None:
            self.shapes.on_open(level, opened)


def canaries_of(bundle: Bundle, level: str) -> LevelCanaries:
    """Return a level's canaries; none in a bundle that was built before there were any."""
    file = bundle.manifest.canaries
    known = {} if file is None else Canaries.parse(bundle.read(file), source=file).levels
    return LevelCanaries(
        level=level,
        columns=bundle.manifest.levels[level].own_columns,
        canaries=tuple(known.get(level, ())),
    )


def program_key(
    bundle: Bundle, level: str, variant: str, placement: Placement, host: Host
) -> ProgramKey:
    """Return everything that a compiled program of that level depends on, on this host."""
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
