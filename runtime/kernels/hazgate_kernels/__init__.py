"""Fused int8 operators for CPUs, in a library that ONNX Runtime loads.

    options.register_custom_ops_library(str(hazgate_kernels.library_path()))

`hazgate` does this automatically. README.md describes the operators.
"""

import ctypes
from pathlib import Path

__all__ = ["instruction_set", "library_path"]


def library_path() -> Path:
    """Return the path for `SessionOptions.register_custom_ops_library`.

    Raises:
        FileNotFoundError: this distribution was not built for this system.
    """
    for name in ("libhazgate_kernels.so", "libhazgate_kernels.dylib"):
        path = Path(__file__).with_name(name)
        if path.is_file():
            return path
    raise FileNotFoundError(
        "hazgate-kernels was installed without its library; reinstall it with a C++ compiler"
    )


def instruction_set() -> str:
    """Return the kernels in use: amx, avx512vnni, avxvnni, avx2, i8mm, neon or portable.

    Raises:
        RuntimeError: HAZGATE_KERNELS_ISA names one that this processor does not have.
    """
    function = ctypes.CDLL(str(library_path())).hazgate_kernels_isa
    function.restype = ctypes.c_char_p
    name = function()
    if name is None:
        raise RuntimeError(
            "HAZGATE_KERNELS_ISA names an instruction set that this processor lacks; unset it"
        )
    return bytes(name).decode()
