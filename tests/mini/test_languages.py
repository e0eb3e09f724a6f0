"""The small model vouches for English, and marks texts in other languages."""

import re
from pathlib import Path

import pytest

from hazgate import Bundle, Gate
from hazgate.engine.options import EngineOptions
from hazgate.text.languages import is_installed

PAGE = Path(__file__).parents[2] / "runtime" / "README.md"
# Texts that the page shows, with what it says of them.
EXAMPLES = re.findall(
    r'^gate\.check\("(.+?)"\)\.language  # (None|"unvouched")',
    PAGE.read_text("utf-8"),
    flags=re.MULTILINE,
)


@pytest.fixture(scope="module")
def gate(mini_bundle: Path) -> Gate:
    return Gate.open(mini_bundle, engine=EngineOptions(variant="int8", threads=1))


def test_its_evidence_is_of_english_and_at_its_threshold(mini_bundle: Path) -> None:
    manifest = Bundle.open(mini_bundle).manifest
    assert manifest.languages is not None
    assert manifest.cascade is not None
    assert list(manifest.languages) == ["en"]
    english = manifest.languages["en"]
    assert english.threshold == manifest.cascade.threshold
    assert english.recall is not None
    assert english.recall.n_rows > 1000


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize(("text", "said"), EXAMPLES)
def test_the_pages_examples_are_marked_as_it_says(gate: Gate, text: str, said: str) -> None:
    if not text.isascii() or is_installed():
        assert gate.check(text).language == (None if said == "None" else "unvouched")
