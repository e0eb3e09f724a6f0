"""Regions of pages: each benchmark lists those that it fills, and `benchmarks.readme` fills them.

A benchmark's module has `REGIONS`, and `benchmarks.readme` the modules' names.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from benchmarks.harness.store import Results, load

R = TypeVar("R", bound=Results)

Region = Callable[[Path], str]
Regions = Mapping[str, Region]


def region(file_name: str, kind: type[R], show: Callable[[R], str]) -> Region:
    """Return what fills a region: `show` of the results in a folder's `file_name`."""
    return lambda folder: show(load(kind, folder / file_name))
