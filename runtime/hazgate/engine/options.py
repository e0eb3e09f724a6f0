"""Options of an engine: the variant and the provider to run, and the threads for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.engine.buckets import Bucket
from hazgate.engine.exit_audit import DEFAULT_AUDIT_SHARE
from hazgate.engine.logit_store import NO_STORE, StoreLimits
from hazgate.engine.providers.table import CPU
from hazgate.engine.static_shapes import OpenedBucket
from hazgate.errors import BundleError

OnOpen = Callable[[str, OpenedBucket], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """Shapes for a provider that compiles one program per shape; other providers ignore them.

    Attributes:
        buckets: the shapes; None takes powers of two up to the window.
        programs: the folder of compiled programs; None compiles at every start.
        on_open: called with the level's name as each bucket is opened.
    """

    buckets: tuple[Bucket, ...] | None = None
    programs: Path | None = None
    on_open: OnOpen | None = None


ANY_SHAPES = Shapes()


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitOptions:
    """Options of a variant with early exits; other variants take none.

    Attributes:
        file: a probe file of `hazgate calibrate --exits`, in place of the bundle's own.
        audit_share: share of the windows that may leave early which are read whole all the same,
            to see how many flagged ones are missed.

    Raises:
        BundleError: the share is no number from 0 to 1.
    """

    file: Path | None = None
    audit_share: float = DEFAULT_AUDIT_SHARE

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 <= self.audit_share <= 1:
            raise BundleError(f"audit_share must be from 0 to 1, got {self.audit_share}")


OWN_EXITS = ExitOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """Choice of variant, provider and threads; the defaults suit a CPU.

    Attributes:
        variant: a variant of the bundle. None takes the fused one where hazgate-kernels is
            installed, else the bundle's default; "auto" also int8 where this processor has
            instructions for it. On another provider than the CPU both take the variant that the
            provider wants.
        providers: an execution provider by name or alias ("cpu", "migraphx", ...), or several in
            order of preference; "auto" takes a GPU if there is one, else the CPU. The provider
            that is taken owns the whole graph, or opening fails.
        device_id: the number of the GPU, where there are several.
        threads: intra-op threads of one run; None divides this process's processors among the
            workers.
        workers: runs that may go on at a time within one `check_many`. One worker on all
            processors answers a single text soonest; one worker per processor, each with one
            thread, answers the most texts per second.
        shapes: for a provider that compiles a program per shape.
        store: limits of a store of logits, which reads no window twice. It works for variants
            whose logits are the same to the last bit in any company (`VariantSpec.is_exact`), on
            the CPU; others run as without one. Off by default.
        exits: for a variant with early exits.

    Raises:
        BundleError: fewer than one worker or thread.
    """

    variant: str | None = None
    providers: str | Sequence[str] = CPU
    device_id: int = 0
    threads: int | None = None
    workers: int = 1
    shapes: Shapes = ANY_SHAPES
    store: StoreLimits = NO_STORE
    exits: ExitOptions = OWN_EXITS

    def __post_init__(self) -> None:
        """Refuse fewer than one worker or thread."""
        if self.workers < 1:
            raise BundleError(f"workers must be at least 1, got {self.workers}")
        if self.threads is not None and self.threads < 1:
            raise BundleError(f"threads must be at least 1, got {self.threads}")
