"""Fused int8 operators for CPUs: a library for ONNX Runtime, and where it lies.

    options.register_custom_ops_library(str(hazgate_kernels.library_path()))

`hazgate` does that by itself. The operators are in README.md.
"""

import ctypes
from pathlib import Path

__all__ = ["instruction_set", "library_path"]


def library_path() -> Path:
    """The library that `SessionOptions.register_custom_ops_library` loads.

    Raises:
        FileNotFoundError: this distribution was not built for this system.
    """
    for name in ("libhazgate_kernels.so", "libhazgate_kernels.dylib"):
        path = Path(__file__).with_name(name)
        if path.is_file():
            return path
    raise FileNotFoundError("hazgate-kernels has no library in it: build it with a C++ compiler")


def instruction_set() -> str:
    """The kernels that run on this processor: avx512vnni, avxvnni, avx2, neon or portable.

    Raises:
        RuntimeError: HAZGATE_KERNELS_ISA names one that it does not have.
    """
    function = ctypes.CDLL(str(library_path())).hazgate_kernels_isa
    function.restype = ctypes.c_char_p
    name = function()
    if name is None:
        raise RuntimeError("HAZGATE_KERNELS_ISA names an instruction set that is not here")
    return bytes(name).decode()
