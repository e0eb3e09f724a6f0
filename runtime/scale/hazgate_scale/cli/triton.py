"""`hazgate triton`: write a bundle as a model repository of Triton Inference Server."""

from pathlib import Path, PurePosixPath
from typing import Literal

import click

from hazgate.cli.extras import requires
from hazgate.errors import InputError

_PATH = click.Path(path_type=Path)


@click.command(epilog="Example: hazgate triton build/mini models --variant fp32 --threads 1")
@click.argument("bundle", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--variant", help="Variant of BUNDLE.  [default: the bundle's, or the provider's]")
@click.option(
    "--provider",
    type=click.Choice(["cpu", "migraphx"]),
    default="cpu",
    show_default=True,
    help="Execution provider. Only AMD's builds of Triton have MIGraphX.",
)
@click.option(
    "--engine",
    type=click.Choice(["in-process", "backend"]),
    default="in-process",
    show_default=True,
    help="Run graphs in the model hazgate itself, or in the ONNX Runtime backend.",
)
@click.option(
    "--max-batch-size", type=int, default=32, show_default=True, help="Largest batch of each model."
)
@click.option(
    "--preferred-batch-size",
    "preferred_batch_sizes",
    type=int,
    multiple=True,
    help="Size at which Triton stops waiting; repeatable.  [default: none]",
)
@click.option(
    "--max-queue-delay-us",
    type=int,
    default=500,
    show_default=True,
    help="Longest wait of Triton for a fuller batch.",
)
@click.option(
    "--instances",
    type=int,
    default=1,
    show_default=True,
    help="Concurrent executions of each model.",
)
@click.option("--threads", type=int, help="Threads per execution.  [default: all processors]")
@click.option(
    "--bucket",
    "buckets",
    type=int,
    multiple=True,
    help="Tokens of a static shape; repeatable.  [default: powers of two]",
)
@click.option(
    "--kernels",
    type=click.Path(path_type=PurePosixPath),
    help="Path of hazgate-kernels' library on the server, for a fused variant.",
)
@click.option(
    "--programs",
    type=click.Path(path_type=PurePosixPath),
    help="Folder on the server for programs that MIGraphX compiled.",
)
def triton(
    bundle: Path,
    out: Path,
    variant: str | None,
    provider: Literal["cpu", "migraphx"],
    engine: Literal["in-process", "backend"],
    max_batch_size: int,
    preferred_batch_sizes: tuple[int, ...],
    max_queue_delay_us: int,
    instances: int,
    threads: int | None,
    buckets: tuple[int, ...],
    kernels: PurePosixPath | None,
    programs: PurePosixPath | None,
) -> None:
    """Write BUNDLE to OUT as a model repository of Triton Inference Server.

    The model `hazgate` takes texts and gives verdicts; each level is a model of its own.
    """
    with requires("triton", {"hazgate-scale[triton]": ("onnx", "google", "tritonclient")}):
        from hazgate_scale.triton.options import RepositoryOptions
        from hazgate_scale.triton.repository import write_repository

    try:
        options = RepositoryOptions(
            variant=variant,
            provider=provider,
            engine=engine,
            max_batch_size=max_batch_size,
            preferred_batch_sizes=preferred_batch_sizes,
            max_queue_delay_us=max_queue_delay_us,
            instances=instances,
            threads=threads,
            buckets=buckets,
            kernels=kernels,
            programs=programs,
        )
    except InputError as error:
        raise click.UsageError(str(error)) from error
    layout = write_repository(bundle, out, options)
    for model in layout.levels:
        length = "any length" if model.tokens is None else f"{model.tokens} tokens"
        click.echo(f"{model.name}: rows of {length}, up to {model.max_batch_size} together")
    click.echo(f"\n{out}  variant {layout.variant}; see its README.md")
