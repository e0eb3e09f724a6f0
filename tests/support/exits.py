"""A probe file as plain data, and a manifest whose level has exits, for tests to spoil."""

import math
from typing import Any

from hazgate.engine.exits import Exits
from hazgate.judging.binomial import upper_bound
from tests.support.manifests import SHA256, manifest_data

HIDDEN = 4
THRESHOLDS = (0.3, 0.5, 0.7)
LOWEST = math.log(0.3) - math.log(0.7)


def evidence_data(threshold: float, *, n_missed: int = 1, n_flagged: int = 1000) -> dict[str, Any]:
    """Return counts that prove half a percent."""
    return {
        "threshold": threshold,
        "n_flagged": n_flagged,
        "n_missed": n_missed,
        "upper_bound": upper_bound(n_missed, n_flagged, 0.95),
        "n_texts": 4000,
        "share_left": 0.7,
    }


def exits_data(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """Return the data of a valid probe file of two exits, with some fields changed."""
    return {
        "schema_version": 1,
        "level": "level1",
        "graph_sha256": SHA256,
        "weights_sha256": [SHA256],
        "after_layers": [1, 2],
        "probes": [[0.5] * HIDDEN + [-1.0], [0.25] * HIDDEN + [-2.0]],
        "limits": [LOWEST - 2, LOWEST - 1],
        "claim": {
            "max_missed_share": 0.005,
            "confidence": 0.95,
            "thresholds": list(THRESHOLDS),
            "evidence": [evidence_data(threshold) for threshold in THRESHOLDS],
            "texts_sha256": SHA256,
            "n_fitted": 2000,
            "source": "recipe",
        },
        **changes,
    }


def exits_of(data: dict[str, Any]) -> Exits:
    """Return the exits of a probe file's data."""
    import json

    return Exits.parse(json.dumps(data).encode(), source="exits.json")


def manifest_with_exits() -> dict[str, Any]:
    """Return the data of a manifest whose variant `early` has exits at Level 1."""
    data = manifest_data()
    data["schema_version"] = 4
    for name in data["levels"]:
        variants = data["levels"][name]["variants"]
        variants["early"] = {
            **variants["fp32"],
            "precision": "int8",
            "kind": "fused",
            "batching": "packed",
        }
    data["levels"]["level1"]["variants"]["early"]["exits"] = {
        "file": "level1-exits.json",
        "after_layers": [1, 2],
    }
    data["files"]["level1-exits.json"] = {"sha256": SHA256, "size_bytes": 1}
    return data
