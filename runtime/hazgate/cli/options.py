"""Options shared by several commands: how a text is read and judged."""

from pathlib import Path

import click

level = click.option(
    "--level", help="The level to open alone.  [default: the cascade, or the only level]"
)
variant = click.option(
    "--variant", help="A variant of the bundle, or auto.  [default: the bundle's]"
)
threshold = click.option(
    "--threshold", type=float, help="Flag at this P(unsafe).  [default: the bundle's]"
)
policy = click.option(
    "--policy",
    type=click.Path(path_type=Path),
    help="A policy file that decides, instead of a threshold.",
)
tenant = click.option(
    "--tenant", help="Tenant whose rules decide.  [default: the policy's own rules]"
)
long_texts = click.option(
    "--long-texts",
    type=click.Choice(["window", "truncate", "reject"]),
    default="window",
    show_default=True,
    help="For texts longer than a window: read them whole, read their beginning, or refuse them.",
)
