"""`hazgate-export push`: write a bundle to the Hugging Face Hub."""

from pathlib import Path

import click

from hazgate.cli.extras import requires


@click.command(epilog="Example: hazgate-export push build/mlcommons my-team/safety-gate")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Create the repository for everybody to read.")
def push(bundle: Path, repository: str, public: bool) -> None:
    """Write BUNDLE to the Hub's repository OWNER/NAME as one commit; print its reference.

    `Gate.open` and the commands take the reference in a bundle's place. HF_TOKEN must hold a token
    that may write. The repository is created if need be, private by default.
    """
    from hazgate.bundle.bundle import Bundle

    with requires("push", {"hazgate[hub]": ("huggingface_hub",)}):
        import huggingface_hub  # noqa: F401 - fails before a large bundle is read

        from hazgate_export.bundle.push import push_bundle

    click.echo(push_bundle(Bundle.open(bundle), repository, private=not public))
