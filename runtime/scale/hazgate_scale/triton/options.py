"""Options of a model repository, checked together."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from hazgate.documents.problems import list_problems
from hazgate.errors import InputError

# Runner of the graphs for the model that decides: its own process, or the ONNX Runtime backend.
GraphRunner = Literal["in-process", "backend"]
# hazgate's aliases of the providers in every build of the ONNX Runtime backend, and in AMD's.
TritonProvider = Literal["cpu", "migraphx"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RepositoryOptions:
    """Options of a repository.

    Attributes:
        variant: variant of the bundle; None takes its default, or the provider's.
        provider: execution provider of the graphs.
        engine: runner of the graphs for the model that decides.
        max_batch_size: rows of a level, or texts of the model that decides, in one execution.
        preferred_batch_sizes: sizes at which Triton stops waiting for more; usually empty.
        max_queue_delay_us: longest wait of Triton for a fuller batch.
        instances: concurrent executions of a model.
        threads: intra-op threads of one execution; None takes all processors.
        buckets: token lengths of static shapes; empty takes powers of two up to the window.
        kernels: path of hazgate-kernels' library on the server, for a fused variant.
        programs: folder on the server for programs that MIGraphX compiled.
    """

    variant: str | None = None
    provider: TritonProvider = "cpu"
    engine: GraphRunner = "in-process"
    max_batch_size: int = 32
    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_us: int = 500
    instances: int = 1
    threads: int | None = None
    buckets: tuple[int, ...] = ()
    kernels: PurePosixPath | None = None
    programs: PurePosixPath | None = None

    def __post_init__(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            InputError: options are wrong; names every problem.
        """
        problems = list(_problems(self))
        if problems:
            raise InputError("the options contradict each other:" + list_problems(problems))


def _problems(options: RepositoryOptions) -> Iterator[str]:
    counts = (
        ("max_batch_size", options.max_batch_size),
        ("instances", options.instances),
        ("threads", options.threads),
        *(("a bucket", n_tokens) for n_tokens in options.buckets),
    )
    for name, count in counts:
        if count is not None and count < 1:
            yield f"{name} must be at least 1, got {count}"
    for size in options.preferred_batch_sizes:
        if not 1 <= size <= options.max_batch_size:
            yield (
                f"a preferred batch size must be from 1 to max_batch_size, "
                f"{options.max_batch_size}, got {size}"
            )
    if options.max_queue_delay_us < 0:
        yield f"max_queue_delay_us must not be negative, got {options.max_queue_delay_us}"
    if options.provider == "cpu":
        if options.buckets:
            yield "buckets are for providers that compile a program per shape; cpu takes any length"
        if options.programs is not None:
            yield "programs are for providers that compile; cpu does not"
    for name, path in (("kernels", options.kernels), ("programs", options.programs)):
        if path is not None and not path.is_absolute():
            yield f"{name} must be an absolute path on the server, got {path}"
