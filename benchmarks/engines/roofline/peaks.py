"""The processor's limits: bare loops of its instructions, and reads of memory."""

import ctypes
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import hazgate_kernels
from benchmarks.harness.stopwatch import seconds_of

_INT8, _FLOAT32, _READ = 0, 1, 2
_ITERATIONS = 20_000_000
# Larger than every cache.
_READ_FLOATS = 64 * 1024 * 1024
_ROUNDS = 9


def measure_peaks(threads: int) -> Mapping[str, float]:
    """Return the best of several rounds, all threads at once; neighbours only slow a round.

    Returns:
        `int8` and `fp32` in multiplications and additions per second, `memory` in bytes per
        second.
    """
    function = ctypes.CDLL(str(hazgate_kernels.library_path())).hazgate_kernels_peak
    function.restype = ctypes.c_int64
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_void_p]
    memory = [np.ones(_READ_FLOATS, dtype=np.float32) for _ in range(threads)]
    return {
        "int8": _rate(lambda _: function(_INT8, _ITERATIONS, None), threads),
        "fp32": _rate(lambda _: function(_FLOAT32, _ITERATIONS, None), threads),
        "memory": _rate(lambda i: function(_READ, _READ_FLOATS, memory[i].ctypes.data), threads),
    }


def _rate(work: Callable[[int], Any], threads: int) -> float:
    return max(_round(work, threads) for _ in range(_ROUNDS))


def _round(work: Callable[[int], Any], threads: int) -> float:
    done = [0] * threads

    def run(i: int) -> None:
        done[i] = work(i)

    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]

    def run_all() -> None:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    seconds = seconds_of(run_all)
    return sum(done) / seconds
