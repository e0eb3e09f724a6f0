"""Hugging Face's InferenceClient asks `/predict`, as it asks Text Embeddings Inference.

The client expects answers that are lists of lists. For a single text, TEI answers a flat list, of
which the client returns the first element: the likelier label.
"""

import json
from pathlib import Path

import pytest

from benchmarks.harness.server import Server
from hazgate import Gate
from tests.support.processes import run_python

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).with_name("ask_hub.py")


@pytest.mark.parametrize(("text", "label"), [("good", "safe"), ("good morning", "unsafe")])
def test_the_likelier_label_comes_back_with_its_probability(
    text: str, label: str, server: Server, bundle: Path
) -> None:
    # In a process of its own: this one sets the client to offline.
    done = run_python(_SCRIPT, f"{server.url}/predict", text, env={"HF_HUB_OFFLINE": "0"})
    assert done.returncode == 0, done.stderr
    unsafe = Gate.open(bundle).check(text).unsafe
    score = unsafe if label == "unsafe" else 1 - unsafe
    assert json.loads(done.stdout) == {"label": label, "score": pytest.approx(score)}
