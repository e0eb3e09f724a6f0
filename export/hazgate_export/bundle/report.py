"""Parity as a Markdown table and as JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hazgate.engine.exits import Exits
from hazgate_export.model.architecture import Architecture
from hazgate_export.parity import Parity
from hazgate_export.recipe import ParityLimits


def parity_table(parities: Sequence[Parity]) -> str:
    """Write the measured variants as a Markdown table."""
    lines = [
        "| level | variant | max abs Δlogit | p99 | moves with batch | decisions changed | gate |",
        "|---|---|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {p.level} | {p.variant} | {p.max_abs_logit_diff:.1e} | {p.p99_abs_logit_diff:.1e} | "
        f"{_moves(p)} | {_decisions(p)} | "
        f"{'passed' if p.passed else 'MISSED'} |"
        for p in parities
    )
    return "\n".join(lines)


def exits_table(exits: Mapping[tuple[str, str], Exits]) -> str:
    """Write what was proven of early exits as a Markdown table, a row for each threshold."""
    lines = [
        "| level | variant | after layers | flagged from | flagged | left early | at most | "
        "of all, left |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {level} | {variant} | {', '.join(map(str, each.after_layers))} | "
        f"{seen.threshold:g} | {seen.n_flagged:,} | {seen.n_missed} | {seen.upper_bound:.2%} | "
        f"{seen.share_left:.0%} of {seen.n_texts:,} |"
        for (level, variant), each in exits.items()
        for seen in each.claim.evidence
    )
    return "\n".join(lines)


def _decisions(parity: Parity) -> str:
    of_tags = "" if parity.n_tags is None else " tags"
    return f"{parity.decisions_changed} of {parity.n_decisions}{of_tags}"


def _figures(parity: Parity) -> dict[str, Any]:
    """Give the figures of a variant; `n_tags` only of a token level."""
    figures = dataclasses.asdict(parity)
    if parity.n_tags is None:
        del figures["n_tags"]
    return figures


def _moves(parity: Parity) -> str:
    if parity.unserved_batch_diff is None:
        return f"{parity.max_invariance_diff:.1e}"
    served = f"{parity.max_invariance_diff:.1e}" if parity.max_invariance_diff else "0"
    return f"{served} as served ({parity.unserved_batch_diff:.1e} otherwise)"


def parity_document(
    parities: Sequence[Parity],
    references: Mapping[str, NDArray[np.float32]],
    *,
    limits: Mapping[str, ParityLimits],
    proof_texts_sha256: str,
    lengths: Sequence[int],
    architectures: Mapping[str, Architecture],
) -> dict[str, Any]:
    """Make `parity.json`: figures, architectures, and the reference's logits to measure against.

    A token level has its logits of one token after the other, over all cases.
    """
    # Their logits are many, and few digits do.
    tagged = {parity.level for parity in parities if parity.n_tags is not None}
    return {
        "reference": "base with its adapter applied by PEFT, eager attention, float32, eval, "
        "each text alone and unpadded",
        "proof_texts_sha256": proof_texts_sha256,
        "lengths": list(lengths),
        "vocab_size": next(iter(architectures.values())).vocab_size,
        "architectures": {
            level: dataclasses.asdict(architecture) for level, architecture in architectures.items()
        },
        "gates": {name: kept.model_dump(exclude_none=True) for name, kept in limits.items()},
        "results": [_figures(parity) for parity in parities],
        "reference_logits": {
            level: [[_number(x, short=level in tagged) for x in row] for row in logits]
            for level, logits in references.items()
        },
    }


def _number(x: np.float32, *, short: bool) -> float:
    """Return a logit whose JSON gives the same float32 again, in as few digits as do if `short`."""
    return float(str(x)) if short else float(x)
