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
from hazgate.cli.progress import step, track
from hazgate.engine.providers.table import CPU
from hazgate.text.reading import Reading, choose_windows
from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.data import select
from hazgate_export.finetune.finetune_recipe import task_data
from hazgate_export.finetune.rows import TrainingRow, read_rows
from hazgate_export.finetune_settings import DataRules
from hazgate_export.proof.subject import Boundary, boundary_of
from hazgate_export.recipe import LoadedRecipe, ParityLimits, Recipe

REFERENCE_VARIANT = "fp32"

_BEGINNING = Reading(long_texts="truncate")
# Rows that are tokenised and planned together.
_CHUNK_ROWS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """One variant of one level on labelled texts, compared with fp32.

    A multi-label level makes as many decisions on a text as it has labels, others make one.
    """

    level: str
    variant: str
    n_texts: int
    decisions_changed: int
    macro_f1: float
    macro_f1_reference: float
    problems: tuple[str, ...]
    decisions_per_text: int = 1

    @property
    def n_decisions(self) -> int:
        """Decisions on all texts."""
        return self.n_texts * self.decisions_per_text


def measure_agreement(
    bundle: Bundle, loaded: LoadedRecipe, data_files: Sequence[Path], *, n_texts: int, seed: int
) -> tuple[Agreement, ...]:
    """Run every variant on a draw of labelled texts and judge it by the recipe's limits.

    Variants that no CPU runs are left out, and so are token levels, whose decisions are tags.

    Args:
        bundle: an open bundle with a variant named fp32.
        loaded: its recipe; the table `finetune.data` of each level, or `task.data`, selects the
            rows for it.
        data_files: JSON Lines of labelled texts, as for fine-tuning.
        n_texts: at most this many texts per level.
        seed: seed of the draw.

    Raises:
        RecipeError: a level has neither table, or there is no fp32 variant.
        DataError: rows are malformed, or no row is left for a level.
    """
    found: list[Agreement] = []
    rules_of = {name: _rules(loaded.recipe, name) for name in levels_of_texts(loaded.recipe)}
    fields = {rules.label_field for rules in rules_of.values()}
    for name, rules in rules_of.items():
        level = loaded.recipe.levels[name]
        rows = read_rows(
            data_files,
            rules,
            level.labels,
            several=level.activation == "sigmoid",
            other_fields=sorted(fields - {rules.label_field}),
        )
        rows = select(rows, rules, seed=seed).rows[:n_texts]
        if not rows:
            raise DataError(
                f"{name}: no row is left for it; check its table of data and the fields of the rows"
            )
        boundary = boundary_of(bundle.manifest, name)
        truth = np.array([_truth(row, rules.label_field, level.labels, boundary) for row in rows])
        decisions = {
            variant: _decisions(bundle, name, variant, rows, boundary)
            for variant in loaded.recipe.variants
            if CPU in bundle.manifest.levels[name].variants[variant].execution_providers
        }
        reference = decisions.pop(REFERENCE_VARIANT)
        found.extend(
            judge(
                name,
                variant,
                truth,
                decided,
                reference,
                loaded.recipe.variants[variant].parity,
                n_several=len(level.labels) if level.activation == "sigmoid" else None,
            )
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
        f"| {a.level} | {a.variant} | {a.decisions_changed} of {a.n_decisions} "
        f"({a.decisions_changed / a.n_decisions:.2%}) | {a.macro_f1:.4f} | "
        f"{a.macro_f1_reference:.4f} | {'MISSED' if a.problems else 'passed'} |"
        for a in agreements
    )
    return "\n".join(lines)


def levels_of_texts(recipe: Recipe) -> list[str]:
    """Name the levels with a label of a text, and say on stderr which ones are left out.

    Raises:
        RecipeError: there is none.
    """
    names = [name for name, level in recipe.levels.items() if not level.per_token]
    left_out = (
        f"{', '.join(name for name in recipe.levels if name not in names)}: --data is for labels "
        "of texts; measure spans with hazgate evaluate --level"
    )
    if not names:
        raise RecipeError(f"levels.{left_out}")
    if len(names) < len(recipe.levels):
        step(left_out)
    return names


def _rules(recipe: Recipe, level: str) -> DataRules:
    """Return the rules for a level's rows.

    Raises:
        RecipeError: the recipe has none, or no fp32 variant.
    """
    described = recipe.levels[level]
    no_rules = described.finetune is None and described.task is None
    if no_rules or REFERENCE_VARIANT not in recipe.variants:
        raise RecipeError(
            f"levels.{level}: --data needs a table finetune or task, and a variant fp32 in the "
            "recipe"
        )
    return task_data(recipe, level) if described.finetune is None else described.finetune.data


def _truth(row: TrainingRow, field: str, labels: Sequence[str], boundary: Boundary) -> int:
    """Return the right decision on a row, as `Boundary.decide` spells it."""
    held = [labels.index(label) for label in row.labels(field) or ()]
    if boundary.positive is not None:
        # Level 1 decides between flagged or not, whatever the order of its labels.
        return int(boundary.positive in held)
    if boundary.activation == "sigmoid":
        return sum(1 << i for i in held)
    (only,) = held
    return only


def _macro_f1(truth: NDArray[np.int64], decided: NDArray[np.int64], n_several: int | None) -> float:
    if n_several is None:
        return float(f1_score(truth, decided, average="macro"))
    both = (_bits(each, n_several) for each in (truth, decided))
    # A label that neither has says nothing, and counts as found.
    return float(f1_score(*both, average="macro", zero_division=1.0))


def _bits(decisions: NDArray[np.int64], n_several: int | None) -> NDArray[np.int64]:
    """Return a multi-label level's decisions [n] as [n, n_several] of 0 and 1, others unchanged."""
    if n_several is None:
        return decisions
    return (decisions[:, None] >> np.arange(n_several)) & 1


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
    *,
    n_several: int | None = None,
) -> Agreement:
    """Compare decisions [n] with the truth [n] and with the reference's decisions [n].

    Args:
        level: name of the level.
        variant: name of the variant.
        truth: the right decisions, as `Boundary.decide` gives them.
        decided: the variant's.
        reference: those of fp32.
        limits: what the variant must keep.
        n_several: number of labels of a multi-label level, whose decisions have a bit for each;
            macro-F1 is then over the labels.
    """
    n_decisions = len(truth) * (n_several or 1)
    changed = int((_bits(decided, n_several) != _bits(reference, n_several)).sum())
    score, wanted = (_macro_f1(truth, each, n_several) for each in (decided, reference))
    problems = []
    if changed > limits.max_changed_share * n_decisions:
        problems.append(
            f"{level} {variant}: {changed} of {n_decisions} decisions on labelled texts changed, "
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
        decisions_per_text=n_several or 1,
    )
