"""The checks of a recipe: what contradicts itself, although every field is well-formed."""

import itertools
from collections.abc import Iterator

from hazgate.bundle.manifest import is_turn
from hazgate.judging.tags import tag_problems
from hazgate_export.errors import RecipeError
from hazgate_export.exit_checks import exit_problems
from hazgate_export.finetune_settings import SPANS_FIELD, FinetuneSettings
from hazgate_export.preflight.table import find_target
from hazgate_export.recipe import CascadeRecipe, LevelRecipe, Recipe, VariantRecipe


def contradictions(recipe: Recipe) -> list[str]:
    """List what is wrong although every field is well-formed; labels only where they are named."""
    problems = []
    if recipe.default_variant not in recipe.variants:
        problems.append(f"default_variant: {recipe.default_variant!r} is not in variants")
    problems.extend(
        f"variants.{name}.int8_scheme: required with precision int8, and allowed only with it"
        for name, variant in recipe.variants.items()
        if (variant.precision == "int8") != (variant.int8_scheme is not None)
    )
    for name, variant in recipe.variants.items():
        problems.extend(
            f"variants.{name}.{problem}" for problem in _graph_problems(variant, recipe.opset)
        )
    problems.extend(exit_problems(recipe))
    problems.extend(_source_problems(recipe))
    problems.extend(_body_problems(recipe))
    for name, level in recipe.levels.items():
        if len(set(level.labels)) < len(level.labels):
            problems.append(f"levels.{name}.labels: a label is given twice")
        if level.finetune is not None and not level.labels:
            problems.append(f"levels.{name}.labels: training needs them in the recipe")
        if level.finetune is not None and level.activation != "softmax":
            problems.append(f"levels.{name}.finetune: trains softmax heads only")
        problems.extend(f"levels.{name}.{problem}" for problem in _decision_problems(level))
        problems.extend(f"levels.{name}.{problem}" for problem in _output_problems(level))
    problems.extend(_task_problems(recipe))
    if recipe.cascade is not None:
        problems.extend(_cascade_problems(recipe, recipe.cascade))
    if recipe.languages is not None:
        tags = recipe.languages.vouched
        twice = sorted({tag for tag in tags if tags.count(tag) > 1})
        problems.extend(f"languages.vouched: {tag} is named twice" for tag in twice)
    if not is_turn(recipe.conversation.turn):
        problems.append("conversation.turn: expected {content} once, and no field but {role}")
    limit = recipe.tokenizer.max_tokens
    window, overlap = recipe.tokenizer.window, recipe.tokenizer.overlap
    if window > limit:
        problems.append(f"tokenizer.window_tokens: {window} is over max_tokens of {limit}")
    close = recipe.tokenizer.close_tokens
    if close is not None and close >= window:
        problems.append(f"tokenizer.close_tokens: {close} must be less than a window of {window}")
    if close is None:
        problems.extend(
            f"tokenizer.{field}: means nothing without close_tokens"
            for field in ("sentences_from_tokens", "sentence_margin")
            if getattr(recipe.tokenizer, field) is not None
        )
    elif (start := recipe.tokenizer.sentences_from_tokens) is not None and start <= close:
        problems.append(
            f"tokenizer.sentences_from_tokens: {start} must be over close_tokens of {close}"
        )
    if overlap >= window:
        problems.append(
            f"tokenizer.overlap_tokens: {overlap} must be less than a window of {window}"
        )
    problems.extend(
        f"parity.lengths: {length} is over tokenizer.max_tokens of {limit}"
        for length in recipe.parity.lengths
        if length > limit
    )
    return problems


def _graph_problems(variant: VariantRecipe, opset: int) -> list[str]:
    problems = []
    if variant.graph != "portable" and opset < 18:
        problems.append(f"graph: an authored graph needs opset 18 or later, the recipe has {opset}")
    if variant.int8_scheme is not None:
        graphs = {"static": "authored", "per_token": "fused"}
        wanted = graphs.get(variant.int8_scheme, "portable")
        if variant.graph != wanted:
            problems.append(
                f"int8_scheme: {variant.int8_scheme!r} goes with the {wanted} graph, "
                f"not with {variant.graph!r}"
            )
    if variant.graph == "fused" and variant.int8_scheme != "per_token":
        problems.append("graph: 'fused' goes with int8_scheme 'per_token'")
    if variant.precision in ("fp16", "bf16") and variant.graph != "portable":
        problems.append(
            f"graph: {variant.precision} goes with the portable graph, not with {variant.graph!r}"
        )
    if variant.preflight and (variant.graph != "portable" or variant.precision == "int8"):
        problems.append(
            "preflight: works only for a portable graph without int8; others are for the CPU"
        )
    problems.extend(filter(None, map(_target_problem, variant.preflight)))
    return problems


def _target_problem(name: str) -> str | None:
    try:
        find_target(name)
    except RecipeError as error:
        return str(error)
    return None


def _task_problems(recipe: Recipe) -> Iterator[str]:
    """Yield what is wrong with the levels that share a training run."""
    tasks = {name: level for name, level in recipe.levels.items() if level.task is not None}
    if recipe.finetune is None and tasks:
        yield f"finetune: required, because {', '.join(tasks)} have a table task"
    if recipe.finetune is not None and not tasks:
        yield "finetune: no level has a table task; a level alone has levels.NAME.finetune"
    for name, level in tasks.items():
        if level.finetune is not None:
            yield f"levels.{name}.task: the level has a table finetune, too; leave one out"
        if not level.labels:
            yield f"levels.{name}.labels: training needs them in the recipe"
        field = level.task.data.label_field if level.task is not None else ""
        if level.activation == "sigmoid" and field in ("level1", "level2"):
            yield f"levels.{name}.task.data.label_field: {field} holds one label, not several"
        if level.activation == "softmax" and field == "level2_all":
            yield f"levels.{name}.task.data.label_field: {field} holds several labels, not one"


def _decision_problems(level: LevelRecipe) -> list[str]:
    """List what is wrong with a level's thresholds; labels only where they are named."""
    problems = []
    named = set(level.labels)
    if level.positive is not None and named and level.positive.label not in named:
        problems.append(f"positive.label: {level.positive.label!r} is not a label of the level")
    if level.thresholds is not None and level.activation != "sigmoid":
        problems.append('thresholds: are for a multi-label level, with activation = "sigmoid"')
    if level.positive is not None and level.positive.label in (level.thresholds or {}):
        problems.append(f"thresholds.{level.positive.label}: `positive` states it already")
    unknown = [label for label in level.thresholds or {} if named and label not in named]
    problems.extend(f"thresholds: {label!r} is not a label of the level" for label in unknown)
    return problems


def _output_problems(level: LevelRecipe) -> Iterator[str]:
    """Yield what is wrong with a token level, or with a part of one at a level of texts."""
    if not level.per_token:
        for part in ("outside", "tagged"):
            if getattr(level, part) is not None:
                yield f'{part}: is for a token level, with output = "tokens"'
        for table in ("finetune", "task"):
            settings = getattr(level, table)
            if settings is not None and settings.data.label_field == SPANS_FIELD:
                yield (
                    f"{table}.data.label_field: {SPANS_FIELD} are for a token level, with "
                    'output = "tokens"'
                )
        return
    if level.columns is not None:
        yield "columns: a token level has a body to itself; leave them out"
    if level.activation != "softmax":
        yield 'activation: a token has one tag, which is "softmax"; leave it out'
    for part in ("positive", "thresholds", "operating_point"):
        if getattr(level, part) is not None:
            yield (
                f"{part}: is for labels of a text; of a token level, a policy's rule has the types "
                "and their threshold"
            )
    if level.task is not None:
        yield "task: a token level shares no run; it has a table finetune of its own"
    if level.finetune is not None:
        for problem in _token_training_problems(level.finetune):
            yield f"finetune.{problem}"
    if level.labels and len(set(level.labels)) == len(level.labels):
        yield from tag_problems(level.labels, level.outside)


def _token_training_problems(settings: FinetuneSettings) -> Iterator[str]:
    """Yield what is wrong with the training of a token level."""
    if settings.data.label_field != SPANS_FIELD:
        yield (
            f"data.label_field: a token level learns from the field {SPANS_FIELD}, got "
            f"{settings.data.label_field}"
        )
    if settings.noise is not None:
        yield "noise: it moves the characters that spans count; leave it out"
    if settings.frozen_layers:
        yield "frozen_layers: are for levels of texts; leave them out"


def _cascade_problems(recipe: Recipe, cascade: CascadeRecipe) -> list[str]:
    problems = []
    level1 = recipe.levels.get(cascade.level1)
    if level1 is None:
        problems.append(f"cascade.level1: no level {cascade.level1!r}")
    elif level1.labels and cascade.positive_label not in level1.labels:
        problems.append(f"cascade.positive_label: not a label of {cascade.level1}")
    if level1 is not None and level1.positive is not None:
        problems.append(f"levels.{cascade.level1}.positive: the cascade states it already")
    if cascade.level2 not in recipe.levels or cascade.level2 == cascade.level1:
        problems.append(f"cascade.level2: expected another level, got {cascade.level2!r}")
    problems.extend(
        f"cascade.{part}: {name} is a token level, which gives no label of a text"
        for part, name in (("level1", cascade.level1), ("level2", cascade.level2))
        if name in recipe.levels and recipe.levels[name].per_token
    )
    return problems


def _source_problems(recipe: Recipe) -> Iterator[str]:
    """Yield what is wrong with the levels' adapters and checkpoints, and with the base."""
    adapters = [name for name, level in recipe.levels.items() if level.adapter is not None]
    for name, level in recipe.levels.items():
        if (level.adapter is None) == (level.checkpoint is None):
            yield f"levels.{name}: expected either adapter or checkpoint"
        for part in ("adapter", "checkpoint"):
            if (getattr(level, part) is None) != (getattr(level, f"{part}_id") is None):
                yield f"levels.{name}: {part} and {part}_id go together"
        if level.adapter is None and level.accept_base is not None:
            yield f"levels.{name}.accept_base: a checkpoint has no other base; leave it out"
        if level.adapter is None and level.finetune is not None:
            yield f"levels.{name}.finetune: trains adapters, this level is a checkpoint"
        if level.adapter is None and level.task is not None:
            yield f"levels.{name}.task: trains adapters, this level is a checkpoint"
    if adapters and recipe.base.source is None:
        yield f"base.source: required, because {', '.join(adapters)} adapt it"
    if not adapters and recipe.base.source is not None:
        yield "base.source: every level is a whole checkpoint, no base is read; leave it out"


def _body_problems(recipe: Recipe) -> Iterator[str]:
    """Yield what is wrong with the columns of levels, and with levels of one source."""
    complete = {
        name: level
        for name, level in recipe.levels.items()
        if (level.adapter is None) != (level.checkpoint is None)
    }
    for name, level in recipe.levels.items():
        yield from _column_problems(name, level)
    for (earlier, one), (name, level) in itertools.combinations(complete.items(), 2):
        yield from _sharing_problems(earlier, one, name, level)


def _column_problems(name: str, level: LevelRecipe) -> Iterator[str]:
    if level.columns is None:
        return
    first, end = level.columns
    if first < 0 or end - first < 2:
        yield (
            f"levels.{name}.columns: expected [first, end] of two columns or more, counted from 0 "
            f"and end not included, got {[first, end]}"
        )
    elif level.labels and end - first != len(level.labels):
        yield (
            f"levels.{name}.columns: expected one for each of the {len(level.labels)} labels, got "
            f"{end - first}: {[first, end]}"
        )


def _sharing_problems(
    earlier: str, one: LevelRecipe, name: str, level: LevelRecipe
) -> Iterator[str]:
    """Yield what is wrong with two levels if they name the same weights."""
    kind, _ = place = level.place
    if place != one.place:
        same_name = level.id and (kind, level.id) == (one.place[0], one.id)
        if same_name and (level.columns or one.columns):
            yield f"levels.{name}.{kind}: expected that of {earlier}, which has the same {kind}_id"
        return
    if level.columns is None or one.columns is None:
        without = " and ".join(
            who for who, it in ((earlier, one), (name, level)) if it.columns is None
        )
        yield (
            f"levels.{name}.{kind}: is also that of {earlier}; levels of one {kind} share its "
            f"outputs: give {without} columns = [first, end]"
        )
        return
    for part in (f"{kind}_id", "accept_base"):
        if getattr(level, part) != getattr(one, part):
            yield f"levels.{name}.{part}: expected that of {earlier}, whose {kind} it shares"
    if level.source.files != one.source.files:
        yield f"levels.{name}.{kind}.files: expected those of {earlier}, whose {kind} it shares"
    (first, end), (other_first, other_end) = level.columns, one.columns
    if max(first, other_first) < min(end, other_end):
        yield (
            f"levels.{name}.columns: {[first, end]} are partly those of {earlier}, "
            f"{[other_first, other_end]}"
        )
