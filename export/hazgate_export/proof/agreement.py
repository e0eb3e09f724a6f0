"""Agreement of a variant with fp32 on labelled texts: changed decisions and their cost.

fp32 is the reference here: its parity limits keep it within 1e-4 of the adapter-applied PyTorch
model, and it takes a fraction of PyTorch's time over thousands of texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from hazgate.bundle.bundle import Bundle
from hazgate.classifier import Classifier
from hazgate.cli.progress import track
from hazgate.engine.providers.table import CPU
from hazgate.text.reading import Reading, choose_windows
from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.data import TrainingRow, read_rows, select
from hazgate_export.proof.subject import Boundary, boundary_of
from hazgate_export.recipe import LoadedRecipe, ParityLimits

REFERENCE_VARIANT = "fp32"

_BEGINNING = Reading(long_texts="truncate")
# Rows that are tokenised and planned together.
_CHUNK_ROWS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """One variant of one level on labelled texts, compared with fp32."""

    level: str
    variant: str
    n_texts: int
    decisions_changed: int
    macro_f1: float
    macro_f1_reference: float
    problems: tuple[str, ...]


def measure_agreement(
    bundle: Bundle, loaded: LoadedRecipe, data_files: Sequence[Path], *, n_texts: int, seed: int
) -> tuple[Agreement, ...]:
    """Run every variant on a draw of labelled texts and judge it by the recipe's limits.

    Variants that no CPU runs are left out.

    Args:
        bundle: an open bundle with a variant named fp32.
        loaded: its recipe; the table `finetune.data` of each level selects the rows for it.
        data_files: JSON Lines of labelled texts, as for fine-tuning.
        n_texts: at most this many texts per level.
        seed: seed of the draw.

    Raises:
        RecipeError: a level has no table `finetune`, or there is no fp32 variant.
        DataError: rows are malformed, or no row is left for a level.
    """
    found: list[Agreement] = []
    for name, level in loaded.recipe.levels.items():
        if level.finetune is None or REFERENCE_VARIANT not in loaded.recipe.variants:
            raise RecipeError(
                f"levels.{name}: --data needs a table finetune and a variant fp32 in the recipe"
            )
        rules = level.finetune.data
        rows = select(read_rows(data_files, rules, level.labels), rules, seed=seed).rows[:n_texts]
        if not rows:
            raise DataError(
                f"{name}: no row is left for it; check finetune.data and the fields of the rows"
            )
        boundary = boundary_of(bundle.manifest, name)
        found_labels = [level.labels.index(row.label(rules.label_field) or "") for row in rows]
        # Level 1 decides between flagged or not, whatever the order of its labels.
        positive = boundary.positive
        truth = np.array([i if positive is None else int(i == positive) for i in found_labels])
        decisions = {
            variant: _decisions(bundle, name, variant, rows, boundary)
            for variant in loaded.recipe.variants
            if CPU in bundle.manifest.levels[name].variants[variant].execution_providers
        }
        reference = decisions.pop(REFERENCE_VARIANT)
        found.extend(
            judge(name, variant, truth, decided, reference, loaded.recipe.variants[variant].parity)
            for variant, decided in decisions.items()
        )
    return tuple(found)


def agreement_table(agreements: Sequence[Agreement]) -> str:
    """Format the measured variants as a Markdown table."""
    lines = [
        "| level | variant | decisions changed | macro-F1 | macro-F1 of fp32 | limits |",
        "|---|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {a.level} | {a.variant} | {a.decisions_changed} of {a.n_texts} "
        f"({a.decisions_changed / a.n_texts:.2%}) | {a.macro_f1:.4f} | "
        f"{a.macro_f1_reference:.4f} | {'MISSED' if a.problems else 'passed'} |"
        for a in agreements
    )
    return "\n".join(lines)


def _decisions(
    bundle: Bundle, level: str, variant: str, rows: Sequence[TrainingRow], boundary: Boundary
) -> NDArray[np.int64]:
    classifier = Classifier.of(bundle, level, variant=variant)
    chunks = [rows[i : i + _CHUNK_ROWS] for i in range(0, len(rows), _CHUNK_ROWS)]
    logits: list[NDArray[np.float32]] = []
    for chunk in track(chunks, f"{level} {variant}: labelled texts"):
        tokens = classifier.tokenizer.encode([row.text for row in chunk])
        # As in training: a text that is longer than a window is read from its beginning.
        logits += classifier.window_logits(choose_windows(tokens, _BEGINNING))
    return boundary.decide(np.concatenate(logits))


def judge(
    level: str,
    variant: str,
    truth: NDArray[np.int64],
    decided: NDArray[np.int64],
    reference: NDArray[np.int64],
    limits: ParityLimits,
) -> Agreement:
    """Compare decisions [n] with the truth [n] and with the reference's decisions [n]."""
    changed = int((decided != reference).sum())
    score = float(f1_score(truth, decided, average="macro"))
    wanted = float(f1_score(truth, reference, average="macro"))
    problems = []
    if changed > limits.max_changed_share * len(truth):
        problems.append(
            f"{level} {variant}: {changed} of {len(truth)} decisions on labelled texts changed, "
            f"at most {limits.max_changed_share:.1%} may"
        )
    if wanted - score > limits.max_macro_f1_loss:
        problems.append(
            f"{level} {variant}: macro-F1 falls from {wanted:.4f} to {score:.4f}, at most "
            f"{limits.max_macro_f1_loss} may be lost"
        )
    return Agreement(
        level=level,
        variant=variant,
        n_texts=len(truth),
        decisions_changed=changed,
        macro_f1=score,
        macro_f1_reference=wanted,
        problems=tuple(problems),
    )
