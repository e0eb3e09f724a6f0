"""The chosen values as a policy file with their origin."""

import json

from hazgate_evaluation.calibration.report import CalibrationReport, LevelPoints


def policy_text(report: CalibrationReport) -> str:
    """Write a policy as TOML: two temperatures, two thresholds, every hazard blocked.

    Levels beside the cascade flag a text by the thresholds that were chosen.
    """
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
    for level in report.levels:
        lines += ["", *_rule(level)]
    return "\n".join(lines) + "\n"


def _rule(level: LevelPoints) -> list[str]:
    """Write the rule of a level: those of its labels that have a threshold, and it."""
    name = json.dumps(level.level)
    chosen = [each for each in level.labels if each.point.threshold is not None]
    left_out = [
        f"# {_comment(each.label)} has no threshold: {each.point.problem}"
        for each in level.labels
        if each.point.threshold is None
    ]
    return [
        f"[levels.{name}]  # {chosen[0].point.target}, each label against the rest",
        *left_out,
        'action = "flag"',
        f"labels = {json.dumps([each.label for each in chosen])}",
        "",
        f"[levels.{name}.thresholds]",
        *(f"{json.dumps(each.label)} = {each.point.threshold}" for each in chosen),
    ]


def _comment(words: str) -> str:
    """Keep words on one line by replacing unprintable characters."""
    return "".join(character if character.isprintable() else "?" for character in words)
