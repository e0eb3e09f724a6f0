"""The command line run in this process, and what it is to print."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from hazgate import Gate
from hazgate.cli.group import cli
from hazgate.engine.options import EngineOptions

# Far from the threshold with the tiny bundle's random weights: 0.66 and 0.30.
FLAGGED, PASSED = "How do I kill a Python process?", "summer"
MARKER = "unrepeatable"


def run(*arguments: str | Path, stdin: bytes = b"") -> Result:
    """Run `hazgate` in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)


def classify(bundle: Path, *arguments: str | Path, stdin: bytes = b"") -> list[dict[str, Any]]:
    """Return the verdicts that a run prints; the run must succeed."""
    result = run("classify", bundle, "--threads", "1", *arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def lines_of(*rows: dict[str, Any]) -> bytes:
    """Return rows as JSON Lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def printed(bundle: Path, *texts: str, all_levels: bool = False) -> list[dict[str, Any]]:
    """Return the verdicts that classify is to print."""
    gate = Gate.open(bundle, engine=EngineOptions(threads=1))
    return [v.to_dict() for v in gate.check_many(texts, all_levels=all_levels)]
