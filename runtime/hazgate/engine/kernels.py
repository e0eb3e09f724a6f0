"""Whether hazgate-kernels is installed, and what it has for this processor."""

import functools
from pathlib import Path

from hazgate.errors import BundleError

# What it runs on a processor that it knows nothing better for: right, and slow.
_SLOW = "portable"


def kernels_library() -> Path:
    """The library that ONNX Runtime is to load.

    Raises:
        BundleError: it is not installed, or was built for another system.
    """
    try:
        import hazgate_kernels

        return hazgate_kernels.library_path()
    except (ImportError, FileNotFoundError) as error:
        raise BundleError(
            "this variant consists of hazgate-kernels' operators, and they are not here: "
            f"{error}. Install hazgate[fast], or ask for another variant"
        ) from error


@functools.cache
def instruction_set() -> str | None:
    """What its kernels run on this processor, e.g. "avx512vnni"; None if it is not installed."""
    try:
        import hazgate_kernels

        return str(hazgate_kernels.instruction_set())
    except (ImportError, OSError, RuntimeError):
        return None


def has_fast_kernels() -> bool:
    """Whether it is installed and has kernels for this processor's vector instructions."""
    return instruction_set() not in (None, _SLOW)
