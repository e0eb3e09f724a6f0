"""Evidence that a bundle reads the languages that its recipe vouches for.

It comes from `training.json`, which `hazgate-export finetune` writes beside an adapter: recall and
false positives by language, on sources from which no run learned.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from hazgate.bundle.language_specs import LanguageSpec, RateSpec
from hazgate.documents.jsonl import parse_json
from hazgate_export.errors import RecipeError, SourceError
from hazgate_export.finetune.evaluate import measured_share
from hazgate_export.model.listing import TRAINING_RECORD
from hazgate_export.model.sources import LevelSources
from hazgate_export.recipe import PositiveRecipe, Recipe

# Nobody may vouch for a language whose recall is surely lower.
MIN_RECALL = 0.65


class _Rate(BaseModel):
    share: float
    low: float
    high: float
    n_rows: int


class _LanguageFigures(BaseModel):
    language: str
    recall: _Rate | None
    false_positive_rate: _Rate | None


class _AtThreshold(BaseModel):
    threshold: float
    recall: float | None
    false_positive_rate: float | None


class _ClassFigures(BaseModel):
    n_rows: int


class _Figures(BaseModel):
    """Figures of held-out rows; records of earlier releases call the thresholds `gates`."""

    classes: Mapping[str, _ClassFigures]
    languages: tuple[_LanguageFigures, ...] = ()
    thresholds: tuple[_AtThreshold, ...] = Field(
        default=(), validation_alias=AliasChoices("thresholds", "gates")
    )
    proposed: _AtThreshold | None = None


class _Trial(BaseModel):
    candidate: Mapping[str, object]
    held_out: _Figures | None = None


class _Data(BaseModel):
    languages: tuple[str, ...]


class _Settings(BaseModel):
    data: _Data


class _Run(BaseModel):
    """A level's part of a record: `settings` of a level alone, `task` of one among several."""

    trials: tuple[_Trial, ...]
    chosen: Mapping[str, object]
    settings: _Settings = Field(validation_alias=AliasChoices("task", "settings"))

    @property
    def held_out(self) -> _Figures | None:
        """Held-out figures of the chosen candidate."""
        chosen = self.chosen.items()
        return next((t.held_out for t in self.trials if chosen <= t.candidate.items()), None)


def language_specs(
    recipe: Recipe, sources: Mapping[str, LevelSources]
) -> dict[str, LanguageSpec] | None:
    """Return the languages that a recipe vouches for, with the evidence that there is.

    Args:
        recipe: the recipe.
        sources: the files of each level, by its name.

    Raises:
        RecipeError: the evidence contradicts the recipe: a language's recall is surely under
            MIN_RECALL; names each.
        SourceError: the record of the training is damaged.
    """
    if recipe.languages is None:
        return None
    level = _deciding(recipe)
    measured = {} if level is None else _measured(recipe, level, sources[level])
    found = {tag: measured.get(tag, LanguageSpec()) for tag in recipe.languages.vouched}
    problems = [
        f"languages.vouched: {tag}: its measured recall of {_said(spec.recall)} contradicts that, "
        f"for it is under {MIN_RECALL:g}; leave {tag} out, or train for it"
        for tag, spec in found.items()
        if spec.recall is not None and spec.recall.high < MIN_RECALL
    ]
    if problems:
        raise RecipeError("\n".join(problems))
    return found


def _said(rate: RateSpec) -> str:
    return f"{rate.share:.2f} ({rate.low:.2f} to {rate.high:.2f}, {rate.n_rows} rows)"


def _deciding(recipe: Recipe) -> str | None:
    """Return the level that flags texts: Level 1, or the first one with a positive label."""
    if recipe.cascade is not None:
        return recipe.cascade.level1
    return next((name for name, level in recipe.levels.items() if level.positive), None)


def _measured(recipe: Recipe, level: str, sources: LevelSources) -> dict[str, LanguageSpec]:
    """Return what the record beside a level's adapter says, by language; empty without a record."""
    adapter, positive = sources.adapter, recipe.positive_of(level)
    if adapter is None or positive is None:
        return {}
    file = adapter.directory / TRAINING_RECORD
    if not file.is_file():
        return {}
    run = _read_run(file, level, adapter.id)
    if run is None or run.held_out is None:
        return {}
    trained_on = run.settings.data.languages
    if len(trained_on) == 1:
        return _of_all(trained_on[0], run.held_out, positive)
    return _of_each(run.held_out)


def _read_run(file: Path, level: str, subject: str) -> _Run | None:
    """Return a level's run; None if the file is of another program, or has no such level.

    Raises:
        SourceError: it is of `hazgate-export finetune`, and damaged.
    """
    data = parse_json(file.read_bytes(), source=f"{subject}: {file.name}", error=SourceError)
    if not isinstance(data, dict) or "data_sha256" not in data:
        return None
    if isinstance(data.get("levels"), dict):
        if level not in data["levels"]:
            return None
        data = {"chosen": data.get("chosen"), **data["levels"][level]}
    try:
        return _Run.model_validate(data)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise SourceError(
            f"{subject}: {file.name} is damaged at {places}; restore it, or remove it and vouch "
            "without evidence"
        ) from error


def _of_all(language: str, figures: _Figures, positive: PositiveRecipe) -> dict[str, LanguageSpec]:
    """Return the figures of rows in one language: at the served threshold, if they are there."""
    n_positive = figures.classes[positive.label].n_rows if positive.label in figures.classes else 0
    n_others = sum(each.n_rows for each in figures.classes.values()) - n_positive
    served = (each for each in figures.thresholds if each.threshold == positive.threshold)
    at = next(served, figures.proposed)
    if at is None:
        return {}
    spec = LanguageSpec(
        threshold=at.threshold,
        recall=_share_of(at.recall, n_positive),
        false_positive_rate=_share_of(at.false_positive_rate, n_others),
    )
    return {language: spec}


def _of_each(figures: _Figures) -> dict[str, LanguageSpec]:
    """Return the figures of each language, at the threshold that the training proposed."""
    if figures.proposed is None:
        return {}
    return {
        each.language: LanguageSpec(
            threshold=figures.proposed.threshold,
            recall=_spec_of(each.recall),
            false_positive_rate=_spec_of(each.false_positive_rate),
        )
        for each in figures.languages
        if each.recall is not None
    }


def _spec_of(rate: _Rate | None) -> RateSpec | None:
    return None if rate is None else RateSpec(**rate.model_dump())


def _share_of(share: float | None, n_rows: int) -> RateSpec | None:
    """Return a share of rows with its interval, from the rows that it stands for."""
    if share is None:
        return None
    measured = measured_share(np.arange(n_rows) < round(share * n_rows))
    return None if measured is None else RateSpec(**dataclasses.asdict(measured))
