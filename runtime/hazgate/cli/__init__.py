"""The command line: each command in a file of its own, errors as exit codes in this one."""

import sys
from typing import Any

import click
from hazgate_evaluation.cli.evaluate import evaluate
from hazgate_scale.cli.corpus import corpus
from hazgate_scale.cli.kserve import kserve
from hazgate_scale.cli.plan import plan

from hazgate import __version__
from hazgate.cli.buckets import buckets
from hazgate.cli.classify import classify
from hazgate.cli.doctor import doctor, warm
from hazgate.cli.info import info, verify_files
from hazgate.cli.serve import serve
from hazgate.errors import BundleError, HazgateError, InferenceError, InputError, OutputError

EXIT_CODES: tuple[tuple[type[HazgateError], int], ...] = (
    (BundleError, 3),
    (InputError, 4),
    (InferenceError, 5),
    (OutputError, 6),
)
# Overload and deadlines, which no command of today can meet: like inference, no answer came.
_EXIT_OTHER = 5


class ExitCodeGroup(click.Group):
    """A group of commands whose hazgate errors become a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Runs the chosen command; see click.Group.invoke."""
        try:
            return super().invoke(ctx)
        except HazgateError as error:
            click.echo(f"error: {error}", err=True)
            codes = (code for kind, code in EXIT_CODES if isinstance(error, kind))
            sys.exit(next(codes, _EXIT_OTHER))


@click.group(
    cls=ExitCodeGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 flagged with --fail-on-flagged, 2 usage, 3 bundle, 4 input, "
    "5 inference, 6 output.",
)
@click.version_option(__version__, prog_name="hazgate")
def cli() -> None:
    """Run an ONNX safety classifier: text in, verdict out."""


cli.add_command(buckets)
cli.add_command(classify)
cli.add_command(corpus)
cli.add_command(doctor)
cli.add_command(evaluate)
cli.add_command(info)
cli.add_command(kserve)
cli.add_command(plan)
cli.add_command(serve)
cli.add_command(verify_files)
cli.add_command(warm)
