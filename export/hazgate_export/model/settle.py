"""A recipe, settled by the files of its levels: base names, labels, windows and thresholds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hazgate.cli.progress import step
from hazgate.documents.problems import list_problems
from hazgate.errors import PolicyError
from hazgate.judging.policy import Policy
from hazgate_export.errors import RecipeError, SourceError
from hazgate_export.model.adapter import base_problems, read_adapter
from hazgate_export.model.head import count_outputs
from hazgate_export.model.labels import LevelLabels, NamedLabels, read_labels, settle_labels
from hazgate_export.model.operating_point import (
    OPERATING_POINT_FILE,
    HeadOperatingPoint,
    read_operating_point,
)
from hazgate_export.model.sources import Fetched, LevelSources
from hazgate_export.recipe import CascadeRecipe, LevelRecipe, LoadedRecipe, TokenizerRecipe
from hazgate_export.recipe_checks import contradictions


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """A recipe in which every level names its labels, windows and thresholds.

    Attributes:
        loaded: the recipe; its digest is still that of the file.
        provenance: the files that named labels, and the operating points, for the manifest.
        policy: a policy with the thresholds of Level 2's operating point, as TOML; None without.
    """

    loaded: LoadedRecipe
    provenance: Mapping[str, str]
    policy: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _SettledLevel:
    recipe: LevelRecipe
    labels: LevelLabels
    point: HeadOperatingPoint | None


def settle(loaded: LoadedRecipe, sources: Mapping[str, LevelSources]) -> Settled:
    """Complete a recipe from the files of its levels, and compare it with them.

    Args:
        loaded: the recipe.
        sources: the files of each level, by its name.

    Raises:
        SourceError: adapters were trained on other bases; or files and recipe, or two files,
            disagree on labels, windows or thresholds.
        RecipeError: the completed recipe contradicts itself.
    """
    _check_bases(loaded, sources)
    levels = {
        name: _settle_level(name, loaded.recipe.levels[name], source)
        for name, source in sources.items()
    }
    points = {name: level.point for name, level in levels.items() if level.point is not None}
    settled = {name: level.recipe for name, level in levels.items()}
    recipe = loaded.recipe.model_copy(
        update={
            "levels": {**loaded.recipe.levels, **settled},
            "tokenizer": _settle_windows(loaded.recipe.tokenizer, points),
        }
    )
    problems = contradictions(recipe)
    if problems:
        raise RecipeError(f"{recipe.name} does not fit its files:{list_problems(problems)}")
    cascade = recipe.cascade
    point = points.get(cascade.level2) if cascade is not None else None
    return Settled(
        loaded=loaded.model_copy(update={"recipe": recipe}),
        provenance=_provenance(levels),
        policy=None if not (cascade and point) else policy_text(recipe.name, cascade, point),
    )


def _check_bases(loaded: LoadedRecipe, sources: Mapping[str, LevelSources]) -> None:
    """Refuse adapters of other bases, of all levels at once, before anything is loaded."""
    problems: list[str] = []
    for name, source in sources.items():
        adapter = source.adapter
        if adapter is None:
            continue
        accept = loaded.recipe.levels[name].accept_base
        problems.extend(
            f"{name}: {adapter.id}: {problem}"
            for problem in base_problems(read_adapter(adapter), source.base, accept)
        )
    if problems:
        raise SourceError(f"adapters and base do not belong together:{list_problems(problems)}")


def _settle_level(name: str, level: LevelRecipe, source: LevelSources) -> _SettledLevel:
    # A checkpoint names its labels itself, and has no base.
    weights = source.adapter or source.base
    columns = level.own_columns
    own = list(read_labels(weights, columns))
    of_base: Sequence[NamedLabels] = ()
    base_head = False
    if source.adapter is not None:
        head = read_adapter(source.adapter).head
        base_head = head is not None and not head.is_whole
        of_base = read_labels(source.base, columns)
    point = _point(name, level, weights)
    if point is not None:
        n_outputs = len(point.labels)
        # It states every output of the head; the level's are its columns.
        point = replace(point, labels=point.labels[columns], thresholds=point.thresholds[columns])
        named = NamedLabels(source=OPERATING_POINT_FILE, labels=point.labels, n_outputs=n_outputs)
        own.append(named)
    if level.columns is not None:
        n_outputs = count_outputs(source)
        if not base_head:
            # A head of another width is another head.
            of_base = [one for one in of_base if one.n_outputs == n_outputs]
        _check_width(name, level.columns, weights.id, n_outputs, [*own, *of_base])
    labels = settle_labels(name, level.labels, own, of_base, base_head=base_head)
    return _SettledLevel(
        recipe=level.model_copy(
            update={"labels": labels.labels, "thresholds": _thresholds(name, level, point)}
        ),
        labels=labels,
        point=point,
    )


def _check_width(
    level: str,
    columns: tuple[int, int],
    id: str,  # noqa: A002
    n_outputs: int,
    named: Sequence[NamedLabels],
) -> None:
    """Compare columns, and the outputs that files name, with the outputs that the head has."""
    problems = [
        f"{one.source} names {one.n_outputs} outputs, the head has {n_outputs}"
        for one in named
        if one.n_outputs != n_outputs
    ]
    if columns[1] > n_outputs:
        problems.append(
            f"levels.{level}.columns: {list(columns)} end beyond the head, which has {n_outputs} "
            "outputs"
        )
    if problems:
        raise SourceError(
            f"{level}: {id} has another head than described:{list_problems(problems)}"
        )


def _thresholds(
    name: str, level: LevelRecipe, point: HeadOperatingPoint | None
) -> Mapping[str, float] | None:
    """Take the thresholds of an operating point; the recipe must then state none itself."""
    if point is None:
        return level.thresholds
    if level.thresholds is not None:
        raise SourceError(
            f"levels.{name}.thresholds: {OPERATING_POINT_FILE} states them, too; leave one out"
        )
    return dict(zip(point.labels, point.thresholds, strict=True))


def _point(name: str, level: LevelRecipe, source: Fetched) -> HeadOperatingPoint | None:
    if level.operating_point is not None:
        return read_operating_point(source, level.activation)
    if (source.directory / OPERATING_POINT_FILE).is_file():
        step(
            f"{name}: {source.id} has an {OPERATING_POINT_FILE}, which is not used; to use it, "
            f'write operating_point = "{OPERATING_POINT_FILE}" into the level'
        )
    return None


def _settle_windows(
    tokenizer: TokenizerRecipe, points: Mapping[str, HeadOperatingPoint]
) -> TokenizerRecipe:
    """Take the windows of operating points; those of the recipe, if any, must be the same."""
    problems: list[str] = []
    for name, point in points.items():
        found = {"window_tokens": point.window_tokens, "overlap_tokens": point.overlap_tokens}
        problems.extend(
            f"tokenizer.{field}: the recipe, or another level, says {stated}; "
            f"{OPERATING_POINT_FILE} of {name} says {wanted}"
            for field, wanted in found.items()
            if (stated := getattr(tokenizer, field)) not in (None, wanted)
        )
        tokenizer = tokenizer.model_copy(update=found)
    if points and tokenizer.close_tokens is not None:
        problems.append(
            f"tokenizer.close_tokens: the thresholds of an {OPERATING_POINT_FILE} were chosen "
            "without close windows; leave it out"
        )
    if problems:
        raise SourceError(f"windows differ:{list_problems(problems)}")
    return tokenizer


def _provenance(levels: Mapping[str, _SettledLevel]) -> dict[str, str]:
    found = {f"{name}.labels": ", ".join(level.labels.sources) for name, level in levels.items()}
    found.update(
        (f"{name}.operating_point", f"{OPERATING_POINT_FILE} {level.point.sha256}")
        for name, level in levels.items()
        if level.point is not None
    )
    return found


def policy_text(name: str, cascade: CascadeRecipe, point: HeadOperatingPoint) -> str:
    """Write a policy with an operating point's thresholds: every label that holds blocks.

    Raises:
        RecipeError: the labels cannot be a policy's hazards.
    """
    lines = [
        f"# Thresholds of {OPERATING_POINT_FILE}, SHA-256 {point.sha256},",
        f"# chosen on texts of at most {point.max_document_tokens} tokens. An unsafe text in which",
        "# no hazard reaches its threshold is blocked by the default.",
        "schema_version = 1",
        # A JSON string is a TOML basic string.
        f"name = {json.dumps(f'{name}-operating-point')}",
        'mode = "strict"',
        "",
        "[gate]",
        f"controversial = {cascade.threshold!r}",
        f"unsafe = {cascade.threshold!r}",
        "",
        "[hazards]",
        'default = { action = "block", threshold = 1.0 }',
        *(
            f'{json.dumps(label)} = {{ action = "block", threshold = {threshold!r} }}'
            for label, threshold in zip(point.labels, point.thresholds, strict=True)
        ),
    ]
    text = "\n".join(lines) + "\n"
    try:
        _check_policy(text, point.labels)
    except PolicyError as error:
        raise RecipeError(f"{OPERATING_POINT_FILE} gives no policy: {error}") from error
    return text


def _check_policy(text: str, labels: Sequence[str]) -> None:
    Policy.parse(text.encode()).check_labels(labels)
