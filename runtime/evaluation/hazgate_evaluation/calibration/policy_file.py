"""The chosen values as a policy file with their origin."""

import json

from hazgate_evaluation.calibration.report import CalibrationReport


def policy_text(report: CalibrationReport) -> str:
    """Write a policy as TOML: two temperatures, two thresholds, every hazard blocked."""
    hazards = report.level2.temperature if report.level2 else 1.0
    lines = [
        "# Written by `hazgate calibrate`; edit it as you like.",
        f"# bundle  {_comment(report.bundle)} {report.variant}, digest {report.digest}",
        f"# data    {_comment(report.data.name)}, {report.data.n_rows} rows, "
        f"SHA-256 {report.data.sha256}",
        f"# date    {report.created}",
        f"# target  unsafe: {report.unsafe.target}; controversial: {report.controversial.target}",
        "schema_version = 1",
        # A JSON string is a TOML basic string.
        f"name = {json.dumps(report.policy)}",
        'mode = "loose"',
        "",
        "[temperature]",
        f"gate = {report.level1.temperature}",
        f"hazards = {hazards}",
        "",
        "[gate]  # 0 < controversial <= unsafe < 1, on the calibrated P(unsafe)",
        f"controversial = {report.controversial.threshold}",
        f"unsafe = {report.unsafe.threshold}",
        "",
        "[hazards]",
        'default = { action = "block", threshold = 0.3 }',
    ]
    return "\n".join(lines) + "\n"


def _comment(words: str) -> str:
    """Keep words on one line by replacing unprintable characters."""
    return "".join(character if character.isprintable() else "?" for character in words)
