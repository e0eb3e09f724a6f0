"""The `hazgate` command, also as `python -m hazgate`."""

import sys


def main() -> None:
    """Run the command line; its libraries come with the extra `hazgate[cli]`."""
    try:
        from hazgate.cli.group import cli
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f"the command line needs {error.name}: pip install 'hazgate[cli]'")
    cli()


if __name__ == "__main__":
    main()
