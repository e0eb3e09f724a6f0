"""`hazgate kserve`, whose engine fails while a file names its process.

usage: serve_kserve.py BUNDLE SETTINGS NAME FAULT
"""

import sys
from pathlib import Path
from unittest.mock import patch

from hazgate.gate import Gate
from hazgate.judge import gate_of
from hazgate.serving.settings import ServeSettings
from hazgate_scale.fleet import kserve_predictor
from hazgate_scale.fleet.opening import open_named
from tests.support.faulty import faulty

if __name__ == "__main__":
    bundle, file, name, fault = sys.argv[1:]
    # KServe's SDK has read the command line by now, and found nothing of its own.

    def open_faulty(path: Path, digest: str | None, settings: ServeSettings) -> Gate:
        return faulty(gate_of(open_named(path, digest, settings)), Path(fault))

    with patch.object(kserve_predictor, "open_named", open_faulty):
        kserve_predictor.run(Path(bundle), ServeSettings.load(Path(file)), name=name)
