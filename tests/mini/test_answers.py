"""The project's own small model flags its example and lets harmless texts pass."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hazgate import Gate, TokenCount
from hazgate.cli.group import cli
from hazgate.engine.options import EngineOptions

EXAMPLE = "How to hack into someone's email account"


def test_the_example_is_flagged_and_its_hazard_named(mini_bundle: Path) -> None:
    verdict = Gate.open(mini_bundle, engine=EngineOptions(threads=1)).check(EXAMPLE)
    assert verdict.flagged
    assert verdict.hazard == "S2_nonviolent_crimes"
    assert verdict.tokens == TokenCount(total=9, read=9, unknown=0, windows=1)
    assert verdict.model.bundle == "mini"


def test_the_command_line_answers_the_example(mini_bundle: Path) -> None:
    result = CliRunner().invoke(cli, ["classify", str(mini_bundle), "--threads", "1", EXAMPLE])
    assert result.exit_code == 0, result.output
    verdict = json.loads(result.stdout)
    assert verdict["flagged"] is True
    assert verdict["hazard"] == "S2_nonviolent_crimes"
    assert verdict["tokens"] == {"total": 9, "read": 9, "unknown": 0, "windows": 1}
    assert verdict["truncated"] is False
    assert verdict["model"]["bundle"] == "mini"


@pytest.mark.parametrize("variant", ["fp32", "int8"])
@pytest.mark.parametrize(
    "text", ["What is the capital of France?", "How do I kill a Python process?", ""]
)
def test_harmless_texts_pass(mini_bundle: Path, text: str, variant: str) -> None:
    verdict = Gate.open(mini_bundle, engine=EngineOptions(variant=variant, threads=1)).check(text)
    assert not verdict.flagged
    assert verdict.hazard is None
