"""A finished training: its trials, its splits and its figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from hazgate_export.finetune.data import Selection, Split
from hazgate_export.finetune.evaluate import Figures
from hazgate_export.finetune.tasks import Plan, Task
from hazgate_export.finetune_settings import RunSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialOutcome:
    """Figures of a plan on rows that its run had not seen, by level."""

    plan: Plan
    validation: Mapping[str, Figures]
    held_out: Mapping[str, Figures | None]

    @property
    def score(self) -> float:
        """Mean macro-F1 over the levels and both sets, which decides between plans."""
        return fmean(
            fmean(figures.macro_f1 for figures in (validation, self.held_out[level]) if figures)
            for level, validation in self.validation.items()
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """A finished training, as its card describes it.

    `data_files` maps file names to SHA-256. Selections and splits are in the tasks' order; figures
    are by level.
    """

    name: str
    base_id: str
    settings: RunSettings
    data_files: Mapping[str, str]
    selections: tuple[Selection, ...]
    trial_splits: tuple[Split, ...]
    final_splits: tuple[Split, ...]
    trials: tuple[TrialOutcome, ...]
    chosen: Plan
    validation: Mapping[str, Figures]

    @property
    def held_out(self) -> Mapping[str, Figures | None]:
        """Held-out figures of the chosen plan."""
        return next(trial.held_out for trial in self.trials if trial.plan == self.chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelOutcome:
    """One level of a training."""

    task: Task
    selection: Selection
    trial_split: Split
    final_split: Split
    validation: Figures
    held_out: Figures | None


def parts_of(trained: Trained) -> list[LevelOutcome]:
    """Return the levels of a training, in the tasks' order."""
    return [
        LevelOutcome(
            task=task,
            selection=selection,
            trial_split=trial_split,
            final_split=final_split,
            validation=trained.validation[task.level],
            held_out=trained.held_out[task.level],
        )
        for task, selection, trial_split, final_split in zip(
            trained.chosen.tasks,
            trained.selections,
            trained.trial_splits,
            trained.final_splits,
            strict=True,
        )
    ]


def texts_trained(parts: Sequence[LevelOutcome]) -> set[str]:
    """Return the texts that the final run learned from."""
    return {row.text for part in parts for row in part.final_split.train}
