"""The optional hazgate-kernels: where its library is, and what it has for this processor."""

import functools
from pathlib import Path

from hazgate.errors import BundleError

# The fallback on processors that it has no better kernels for: right, and slow.
_SLOW = "portable"


def kernels_library() -> Path:
    """Return the path of the library that ONNX Runtime loads.

    Raises:
        BundleError: hazgate-kernels is not installed, or was built for another system.
    """
    try:
        import hazgate_kernels

        return hazgate_kernels.library_path()
    except (ImportError, FileNotFoundError) as error:
        raise BundleError(
            "this variant needs the operators of hazgate-kernels, which cannot be loaded: "
            f"{error}. Install hazgate[fast], or ask for another variant"
        ) from error


@functools.cache
def instruction_set() -> str | None:
    """Return the kernels' instruction set here, e.g. "avx512vnni"; None if not installed."""
    try:
        import hazgate_kernels

        return str(hazgate_kernels.instruction_set())
    except (ImportError, OSError, RuntimeError):
        return None


def has_fast_kernels() -> bool:
    """Return True if hazgate-kernels is installed and has vector kernels for this processor."""
    return instruction_set() not in (None, _SLOW)
