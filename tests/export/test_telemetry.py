"""The exporter reports to nobody either."""

from pathlib import Path

from tests.support.homes import written_at_home

_OBSERVE = """
import sys
from pathlib import Path
import numpy as np
from hazgate_export.author.observe import observe
try:
    observe(Path(sys.argv[1]), [np.ones((1, 4), np.int64)], threads=1)
except ValueError:
    print("this graph shows no sites, but it ran")
"""


def test_the_exporter_writes_nothing_at_home(tiny_bundle: Path, tmp_path: Path) -> None:
    graph = next(tiny_bundle.rglob("*.onnx"))
    assert written_at_home(tmp_path / "home", _OBSERVE, graph) == []
