"""Options that several commands have in common: how a text is read and judged."""

from pathlib import Path

import click

variant = click.option(
    "--variant", help="A variant of the bundle, or auto.  [default: the bundle's]"
)
threshold = click.option(
    "--threshold", type=float, help="Flag at this P(unsafe).  [default: the bundle's]"
)
policy = click.option(
    "--policy", type=click.Path(path_type=Path), help="A policy file that decides."
)
tenant = click.option("--tenant", help="Whose rules of the policy decide.  [default: its own]")
long_texts = click.option(
    "--long-texts",
    type=click.Choice(["window", "truncate", "reject"]),
    default="window",
    show_default=True,
    help="Read texts longer than a window whole, read their beginning, or refuse them.",
)
