"""The `hazgate` command group: its own commands, and those of other distributions."""

import importlib.metadata
import sys
from typing import Any, ClassVar

import click

from hazgate import __version__
from hazgate.cli.buckets import buckets
from hazgate.cli.classify import classify
from hazgate.cli.doctor import doctor, warm
from hazgate.cli.extras import MissingExtra
from hazgate.cli.info import info, verify_files
from hazgate.cli.serve import serve
from hazgate.errors import BundleError, HazgateError, InferenceError, InputError, OutputError

# Other distributions add commands under this group of entry points.
ENTRY_POINTS = "hazgate.commands"
# Commands of the project's other distributions, to name the one to install.
ELSEWHERE = {
    "calibrate": "hazgate-evaluation",
    "evaluate": "hazgate-evaluation",
    "corpus": "hazgate-scale[corpus]",
    "kserve": "hazgate-scale[kserve]",
    "plan": "hazgate-scale[plan]",
    "triton": "hazgate-scale[triton]",
}

# As a shell reports a process that SIGINT ended.
EXIT_INTERRUPTED = 130


class ExitCodeGroup(click.Group):
    """A group whose errors become one message on standard error and an exit code.

    `exit_codes` is searched in order; the last row catches the rest.
    """

    exit_codes: ClassVar[tuple[tuple[type[Exception], int], ...]] = (
        (BundleError, 3),
        (InputError, 4),
        (InferenceError, 5),
        (OutputError, 6),
        # Overloaded and DeadlineExceeded: no answer came, as with a failed inference.
        (HazgateError, 5),
    )

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the chosen command; see click.Group.invoke."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except tuple(kind for kind, _ in self.exit_codes) as error:
            self.show(error)
            sys.exit(next(code for kind, code in self.exit_codes if isinstance(error, kind)))

    def show(self, error: Exception) -> None:
        """Print the error on standard error."""
        click.echo(f"error: {error}", err=True)


class CommandGroup(ExitCodeGroup):
    """The group's own commands and, loaded when used, those that entry points name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command: own, installed elsewhere, and known but not installed."""
        return sorted({*super().list_commands(ctx), *_entry_points(), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command; one that is known but not installed says what to install."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = _entry_points().get(cmd_name)
        if entry is not None:
            loaded = entry.load()
            if not isinstance(loaded, click.Command):
                raise TypeError(f"entry point {entry.value} is not a click command")
            return loaded
        requirement = ELSEWHERE.get(cmd_name)
        return None if requirement is None else _not_installed(cmd_name, requirement)


def _entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    return {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def _not_installed(name: str, requirement: str) -> click.Command:
    distribution = requirement.partition("[")[0]

    @click.command(
        name,
        help=f"Needs {distribution}: pip install '{requirement}'.",
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def missing(arguments: tuple[str, ...]) -> None:  # noqa: ARG001 - takes anything
        raise MissingExtra(name, distribution, requirement)

    return missing


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 flagged with --fail-on-flagged, 2 usage, 3 bundle, 4 input, "
    "5 inference, 6 output, 130 interrupted.",
)
@click.version_option(__version__, prog_name="hazgate")
def cli() -> None:
    """Run an ONNX safety classifier: text in, verdict out."""


for _command in (buckets, classify, doctor, info, serve, verify_files, warm):
    cli.add_command(_command)
