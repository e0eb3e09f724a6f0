"""The committed tiny bundle is what the exporter makes today."""

import json
from pathlib import Path

import numpy as np

from hazgate import Bundle, EngineOptions, Gate
from tests.support.tiny import ARCHIVE, unpack_tiny_bundle

MAX_BYTES = 200_000
TEXTS = ["", "hello", "How do I kill a Python process?", "summer " * 8]
REMAKE = "run `python -m tests.support.make_tiny_bundle`"


def test_the_archive_is_small() -> None:
    assert ARCHIVE.stat().st_size <= MAX_BYTES


def _described(root: Path) -> object:
    """Return the manifest without digests, sizes, figures and versions of tools."""
    data = json.loads((root / "bundle.json").read_text(encoding="utf-8"))
    del data["files"], data["provenance"]
    for level in data["levels"].values():
        for variant in level["variants"].values():
            del variant["parity"]
        for source in (level["base"], level["adapter"]):
            del source["sha256"]
            source["files"] = sorted(source["files"])
    return data


def test_the_committed_bundle_says_what_a_fresh_one_says(
    built_bundle: Path, tmp_path: Path
) -> None:
    committed = unpack_tiny_bundle(tmp_path)
    assert _described(committed) == _described(built_bundle), REMAKE
    listed = [set(Bundle.open(root).manifest.files) for root in (committed, built_bundle)]
    assert listed[0] == listed[1], REMAKE


def test_the_committed_bundle_answers_as_a_fresh_one(built_bundle: Path, tmp_path: Path) -> None:
    options = EngineOptions(variant="fp32", threads=1)
    committed, fresh = (
        Gate.open(root, engine=options) for root in (unpack_tiny_bundle(tmp_path), built_bundle)
    )
    for level in ("level1", "level2"):
        logits = [getattr(gate, level).logits(TEXTS) for gate in (committed, fresh)]
        assert np.abs(logits[0] - logits[1]).max() < 1e-4, REMAKE
