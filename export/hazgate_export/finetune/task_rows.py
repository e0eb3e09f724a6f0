"""The rows of a run's tasks: read, selected, and checked against the rules that choose them."""

from collections.abc import Sequence
from pathlib import Path

from hazgate_export.errors import DataError, RecipeError
from hazgate_export.finetune.data import Selection, Split, select
from hazgate_export.finetune.rows import NO_LABEL, TrainingRow, read_rows
from hazgate_export.finetune.tasks import POSITIVE_LABEL, Task


def select_rows(
    tasks: Sequence[Task], data_files: Sequence[Path], seed: int, other_fields: Sequence[str] = ()
) -> tuple[Selection, ...]:
    """Read and select the rows of each task; name every problem of the rules at once.

    Args:
        tasks: the tasks.
        data_files: JSON Lines.
        seed: of the draw of rows.
        other_fields: fields of labels that rows may have, beside those of the tasks.

    Raises:
        DataError: rows are malformed.
        RecipeError: the rules name sources or labels that no row has.
    """
    fields = [*other_fields, *(task.field for task in tasks)]
    selections = []
    problems: list[str] = []
    for task in tasks:
        rules = task.settings.data
        rows = read_rows(
            data_files,
            rules,
            task.row_labels,
            several=task.several,
            other_fields=fields,
        )
        place = f"{task.level}: " if len(tasks) > 1 else ""
        problems += [f"{place}{problem}" for problem in _name_problems(task, rows)]
        selections.append(select(rows, rules, seed=seed))
    if problems:
        raise RecipeError("\n".join(problems))
    return tuple(selections)


def _name_problems(task: Task, rows: Sequence[TrainingRow]) -> list[str]:
    rules, labels = task.settings.data, task.row_labels
    sources = {row.source for row in rows}
    named = {
        "excluded_sources": rules.excluded_sources,
        "source_caps": tuple(rules.source_caps),
        "source_weights": tuple(rules.source_weights),
        "held_out_sources": rules.held_out_sources,
        "held_out_group_shares": tuple(rules.held_out_group_shares),
    }
    problems = [
        f"data.{key}: no row is from {', '.join(sorted(unknown))}"
        for key, names in named.items()
        if (unknown := set(names) - sources)
    ]
    known = {*labels, NO_LABEL} if task.several else set(labels)
    capped = {
        part for name in rules.label_caps for part in (name.split("+") if task.several else [name])
    }
    if unknown := capped - known:
        problems.append(f"data.label_caps: no such label: {', '.join(sorted(unknown))}")
    if rules.label_field == "level1" and POSITIVE_LABEL not in labels:
        problems.append(f"data.label_field: level1 needs the label {POSITIVE_LABEL}")
    return problems


def check_parts(tasks: Sequence[Task], splits: Sequence[Split]) -> None:
    """Check that every label has rows to learn from and rows to be measured on.

    Raises:
        DataError: a part lacks a label; names all.
    """
    problems = []
    for task, parts in zip(tasks, splits, strict=True):
        place = f"{task.level}: " if len(tasks) > 1 else ""
        for name, rows in (("training", parts.train), ("validation", parts.validation)):
            found = {label for row in rows for label in row.labels(task.field) or ()}
            if missing := [label for label in task.row_labels if label not in found]:
                problems.append(f"{place}no {name} row is labelled {', '.join(missing)}")
    if problems:
        raise DataError("; ".join(problems))
