"""Facts about this host's processors: their number, and their instructions for int8.

ONNX Runtime picks its int8 kernels by instruction set (MlasPlatform in onnxruntime/core/mlas). With
any of the sets below they beat float32; without one they do not.
"""

import functools
import os
import platform
import re
from pathlib import Path

# Flags of /proc/cpuinfo, best first: on x86, then on ARM.
_INT8_FLAGS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2", "i8mm", "asimddp")
_CPU_INFO = Path("/proc/cpuinfo")
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def n_processors() -> int:
    """Return how many processors this process may use: its affinity, within its cgroup's quota."""
    has_affinity = hasattr(os, "sched_getaffinity")
    n = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    quota = parse_quota(_read(_CPU_QUOTA))
    return n if quota is None else max(1, min(n, int(quota)))


def threads_per_run(asked: int | None, *, n_runs: int) -> int:
    """Return `asked`, or this process's processors divided among runs that go on at a time."""
    return asked if asked is not None else max(1, n_processors() // n_runs)


@functools.cache
def int8_instructions() -> str | None:
    """Return the instruction set for int8 products, e.g. "avx512_vnni"; None if there is none."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "asimddp"  # every Apple processor has it, and there is no /proc
    return parse_int8_flags(_read(_CPU_INFO))


def parse_int8_flags(cpu_info: str) -> str | None:
    """Return the best int8 instruction set that the text of /proc/cpuinfo lists.

    >>> parse_int8_flags("flags : fpu avx2 avx512_vnni")
    'avx512_vnni'
    """
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpu_info, flags=re.MULTILINE)
    flags = set(lines[0].split()) if lines else set()
    return next((flag for flag in _INT8_FLAGS if flag in flags), None)


def parse_quota(cpu_max: str) -> float | None:
    """Return the processors that the text of cgroup's cpu.max grants; None if it sets no limit.

    >>> parse_quota("50000 100000")
    0.5
    """
    fields = cpu_max.split()
    if len(fields) != 2 or not all(field.isdecimal() for field in fields) or fields[1] == "0":
        return None
    return int(fields[0]) / int(fields[1])


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
