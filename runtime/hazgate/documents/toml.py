"""Strict reading of TOML."""

import sys
from collections.abc import Callable
from typing import Any


def parse_toml(data: bytes, *, source: str, error: Callable[[str], Exception]) -> dict[str, Any]:
    """Return the tables of a TOML document.

    Args:
        data: the whole file.
        source: the document's name in the error.
        error: the class of the error.

    Raises:
        error: `data` is not UTF-8 or not TOML.
    """
    # Imported here: a gateway without a policy does not need it.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        parsed: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    # ValueError covers integers of too many digits, too; RecursionError tables nested too deep.
    except (ValueError, RecursionError) as cause:
        raise error(f"{source} is not a TOML document in UTF-8: {cause}") from cause
    return parsed
