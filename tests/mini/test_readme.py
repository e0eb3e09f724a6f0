"""The README shows the behaviour of the code."""

import json
import re
from pathlib import Path

import pytest

from hazgate import Gate

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_screen_shows_the_verdict_of_the_bundle(mini_bundle: Path) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", README, flags=re.DOTALL)
    shown = json.loads(block)
    if shown["model"]["variant"] == "int8-fused":
        pytest.importorskip("hazgate_kernels", reason="the shown variant needs a C++ compiler")
    verdict = Gate.open(mini_bundle).check("How to hack into someone's email account").to_dict()
    assert list(shown) == list(verdict)
    assert shown["detected"] == verdict["detected"]
    assert shown["scores"] == pytest.approx(verdict["scores"], abs=0.02)
    assert shown["flagged"] is verdict["flagged"] is True
    assert shown["hazard"] == verdict["hazard"] == "S2_nonviolent_crimes"
    assert shown["tokens"] == verdict["tokens"]
    assert shown["span"] == verdict["span"]
    assert shown["unsafe"] == pytest.approx(verdict["unsafe"], abs=0.02)
    assert shown["hazards"] == pytest.approx(verdict["hazards"], abs=0.02)
    del shown["model"]["digest"], verdict["model"]["digest"]
    assert shown["model"] == verdict["model"]


def test_the_python_example_runs(mini_bundle: Path) -> None:
    example, *_ = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(example.replace("build/mini", str(mini_bundle)), {})


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"make ([a-z-]+)", README))
    assert "export" in targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
