"""`hazgate doctor` and `hazgate warm`: check a host for a bundle, and compile programs for it."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hazgate.bundle.bundle import Bundle
from hazgate.cli.progress import bar
from hazgate.doctor import Diagnosis, diagnose
from hazgate.documents.decode import encode
from hazgate.engine.buckets import Bucket, default_buckets, parse_bucket
from hazgate.engine.engine import Engine
from hazgate.engine.options import EngineOptions, ExitOptions, Shapes
from hazgate.engine.static_shapes import OpenedBucket
from hazgate.engine.variants import choose_variant
from hazgate.errors import InputError

_PATH = click.Path(path_type=Path)
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}
_UNFIT = 3


class BucketType(click.ParamType):  # type: ignore[type-arg] # a generic of newer releases only
    """An option's value like 8x512: rows and tokens."""

    name = "ROWSxTOKENS"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> Bucket:
        """Parse a bucket; see click.ParamType.convert."""
        try:
            return parse_bucket(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


_providers = click.option(
    "--providers",
    multiple=True,
    help="Execution providers in order of preference, or auto.  [default: auto]",
)
_variant = click.option(
    "--variant", help="A variant of the bundle.  [default: the best for the provider]"
)
_device = click.option(
    "--device-id",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Number of the GPU, of several.",
)
_buckets = click.option(
    "--bucket",
    "buckets",
    type=BucketType(),
    multiple=True,
    help="A shape to compile for; may be repeated.  [default: powers of two, 1 and 8 rows]",
)
_programs = click.option("--programs", type=_PATH, help="Folder of compiled programs.")


@click.command(epilog="Example: hazgate doctor build/mini --providers migraphx --json")
@click.argument("bundle", type=_PATH)
@_providers
@_variant
@_device
@_buckets
@_programs
@click.option(
    "--exits",
    type=_PATH,
    help="A probe file for a variant with early exits.  [default: the bundle's]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(
    bundle: Path,
    providers: tuple[str, ...],
    variant: str | None,
    device_id: int,
    buckets: tuple[Bucket, ...],
    programs: Path | None,
    exits: Path | None,
    as_json: bool,
) -> None:
    """Check that this host can serve BUNDLE as it was proven; print each finding and its cure.

    Exit codes: 0 fit, 3 not fit.
    """
    options = EngineOptions(
        variant=variant,
        providers=providers or "auto",
        device_id=device_id,
        shapes=Shapes(buckets=buckets or None, programs=programs),
        exits=ExitOptions(file=exits),
    )
    diagnosis = diagnose(bundle, options)
    if as_json:
        click.echo(json.dumps({"healthy": diagnosis.healthy, **encode(diagnosis)}, indent=2))
    else:
        Console().print(_table(diagnosis))
    if not diagnosis.healthy:
        sys.exit(_UNFIT)


@click.command(
    epilog="Example: hazgate warm bundle --providers migraphx --programs /var/cache/hazgate"
)
@click.argument("bundle", type=_PATH)
@_providers
@_variant
@_device
@_buckets
@click.option("--programs", type=_PATH, required=True, help="Folder of compiled programs.")
def warm(
    bundle: Path,
    providers: tuple[str, ...],
    variant: str | None,
    device_id: int,
    buckets: tuple[Bucket, ...],
    programs: Path,
) -> None:
    """Compile the programs of BUNDLE for this host's GPU, so that a gate starts in seconds.

    Run it when an image is built, or before workers start: one process compiles, others wait.
    """
    opened = Bundle.open(bundle)
    levels = [body[0] for body in opened.manifest.bodies()]
    specs = [opened.manifest.levels[level].tokenizer for level in levels]
    n_shapes = sum(len(buckets or default_buckets(spec.window_tokens)) for spec in specs)
    with bar() as progress:

        def on_open(level: str, bucket: OpenedBucket) -> None:
            progress.console.print(f"{level} {bucket.bucket}: {bucket.seconds:.1f} s")
            progress.advance(task)

        engine = Engine.of(
            EngineOptions(
                providers=providers or "auto",
                device_id=device_id,
                shapes=Shapes(buckets=buckets or None, programs=programs, on_open=on_open),
            )
        )
        provider = engine.placement.spec
        if not provider.static_shapes:
            click.echo(f"{provider.name} compiles nothing in advance; nothing to warm")
            return
        name = choose_variant(opened.manifest, variant, provider)
        task = progress.add_task("compile", total=n_shapes, rate="")
        for level in levels:
            engine.open_level(opened, level, name)


def _table(diagnosis: Diagnosis) -> Table:
    table = Table(show_header=False, box=None)
    for check in diagnosis.checks:
        table.add_row(
            Text(check.status, style=_STYLES[check.status]), check.name, Text(check.found)
        )
    return table
