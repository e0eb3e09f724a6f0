"""What is asked of a model repository, checked as a whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from hazgate.errors import InputError

# Who runs the graphs for the model that decides: its own process, or Triton's ONNX Runtime backend.
GraphRunner = Literal["in-process", "backend"]
# By hazgate's aliases: what the ONNX Runtime backend has in every build, and in AMD's.
TritonProvider = Literal["cpu", "migraphx"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RepositoryOptions:
    """How a repository serves.

    Attributes:
        variant: which of the bundle's; None takes its default, or what the provider wants.
        provider: what runs the graphs.
        engine: who runs them for the model that decides.
        max_batch_size: rows of the levels, and texts of the model that decides, in one execution.
        preferred_batch_sizes: sizes at which Triton no longer waits for more; none is usual.
        max_queue_delay_us: how long Triton may wait for a fuller batch.
        instances: executions of a model that may go on at a time.
        threads: intra-op threads of one execution; None takes all processors.
        buckets: lengths in tokens of static shapes; none takes powers of two up to the window.
        kernels: where hazgate-kernels' library lies on the server; a fused variant needs it.
        programs: where the server keeps programs that MIGraphX compiled.
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
        """Refuses what contradicts itself.

        Raises:
            InputError: names every problem.
        """
        problems = list(_problems(self))
        if problems:
            raise InputError("triton: " + "\n".join(problems))


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
            yield "buckets are for providers that compile a program for each shape; cpu takes any"
        if options.programs is not None:
            yield "programs are kept by providers that compile; cpu does not"
    for name, path in (("kernels", options.kernels), ("programs", options.programs)):
        if path is not None and not path.is_absolute():
            yield f"{name} must be an absolute path on the server, got {path}"
