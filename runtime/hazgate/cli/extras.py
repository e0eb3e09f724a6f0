"""Optional libraries, and the error that names the extra to install."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click


class MissingExtra(click.ClickException):
    """A command needs a library that no installed extra brought. Exit code 1."""

    def __init__(self, command: str, library: str, requirement: str) -> None:
        """Name the command, the missing library, and the requirement that brings it."""
        super().__init__(f"{command} needs {library}: pip install '{requirement}'")

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's own signature
        """Print the message alone on standard error."""
        click.echo(self.message, err=True)


@contextmanager
def requires(command: str, requirements: Mapping[str, tuple[str, ...]]) -> Iterator[None]:
    """Turn a failed import of an optional library into MissingExtra.

    Args:
        command: the command that imports.
        requirements: top-level modules by the requirement that brings them.

    Raises:
        MissingExtra: one of those modules is not installed.
        ModuleNotFoundError: any other module is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        for requirement, modules in requirements.items():
            if library in modules:
                raise MissingExtra(command, library, requirement) from error
        raise
