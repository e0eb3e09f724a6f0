"""Settings of a fine-tuning run: the tables `[levels.NAME.finetune]` of a recipe.

Where several levels are trained as one adapter, `[finetune]` says how, and `[levels.NAME.task]`
what each of them learns.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Quality = Literal["gold", "silver", "weak"]
Balance = Literal["none", "sqrt", "full"]
# The field of a row that a token level learns from.
SPANS_FIELD = "spans"
# Fields of a row that describe it and are no labels.
_NO_LABELS = frozenset(
    (
        "text",
        "level1_ok",
        "group",
        "source",
        "license",
        "lang",
        "quality",
        "source_label",
        "permissive",
        "topic",
    )
)


def _label_field(name: str) -> str:
    if name in _NO_LABELS:
        raise ValueError(f"expected a field of labels, got {name}")
    return name


Share = Annotated[float, Field(ge=0, lt=1)]
RowCount = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraSettings(_Table):
    """The adapter's shape; `modules_to_save` are trained in full and stored with it."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: Share
    target_modules: tuple[str, ...] = Field(min_length=1)
    modules_to_save: tuple[str, ...] = Field(min_length=1)


class Candidate(_Table):
    """One choice of the settings that a recipe leaves open.

    `class_balance` weighs the loss of a class by the inverse of its row count ("full"), by the
    square root of that ("sqrt"), or not ("none"). `source_balance` does the same to the sources
    within each class and leaves the weight of the class as it is, so that no class is learned
    from one source's way of writing. At a token level the classes are the tags, by their number of
    tokens, and those of `source_balance` the types that a row has together.
    """

    epochs: int = Field(ge=1)
    class_balance: Balance
    source_balance: Balance = "none"


class StyleNoise(_Table):
    """Random changes of form that keep the meaning, drawn again every epoch.

    They stop the model from reading a source's habits (a final question mark, an imperative) as
    a class.
    """

    drop_end_share: Share
    swap_end_share: Share
    prefix_share: Share
    prefixes: tuple[str, ...]


class FileDefaults(_Table):
    """Values of a data file that hold for all its rows.

    `note` says in the adapter's card how the rows were made.
    """

    source: str
    license: str
    lang: str
    quality: Quality
    note: str | None = None


class DataRules(_Table):
    """Rules for the rows to learn from, the rows to hold out, and the weight of each.

    Attributes:
        label_field: the field of a row that holds its label; rows without it are left out.
            "level1" leaves out rows whose `level1_ok` is false, too. "level2_all" holds several
            labels; where a row has no such field, `level2` is its only one. "spans" holds those
            of a token level: objects with `start`, `end` and `label`, in code points of the text,
            `end` behind the last. Any other name is a field of the project's own rows.
        safe_rows_hold_none: "level2_all" only: a row that is safe, and fit for Level 1, teaches
            that none of the labels holds; else it is left out.
        languages: the rows' languages.
        file_defaults: by file name, for files whose rows do not say where they come from.
        excluded_sources: never used, not even for measuring.
        source_caps: most rows of each label that a source may bring.
        label_caps: most rows of a label over all sources. Of a multi-label level, rows with
            several labels count as their labels joined by "+", and rows without any as "none".
        quality_weights: how much a row counts in the loss, by its quality; 1 where none is given.
        source_weights: likewise by its source; the two multiply.
        held_out_sources: kept from the trial runs and measured there: the estimate for text from
            sources that were not seen. The final run learns from them too, see `learn_held_out`.
        held_out_group_shares: by source, the share of its groups that is held out in the same way.
        validation_share: share of the groups kept from every run: the same sources, other items.
    """

    label_field: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_label_field)]
    safe_rows_hold_none: bool = False
    languages: tuple[str, ...] = Field(min_length=1)
    file_defaults: Mapping[str, FileDefaults] = Field(default_factory=dict)
    excluded_sources: tuple[str, ...] = ()
    source_caps: Mapping[str, RowCount] = Field(default_factory=dict)
    label_caps: Mapping[str, RowCount] = Field(default_factory=dict)
    quality_weights: Mapping[Quality, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    source_weights: Mapping[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    held_out_sources: tuple[str, ...] = ()
    held_out_group_shares: Mapping[str, Share] = Field(default_factory=dict)
    validation_share: Annotated[float, Field(gt=0, lt=1)]


class RunSettings(_Table):
    """The settings that every run has, whatever it learns.

    Attributes:
        seed: of the head, the order of rows, dropout, noise and every draw of rows.
        warmup_ratio: share of all steps in which the learning rate rises from 0; then it falls
            linearly to 0.
        max_tokens: limit at which longer texts are cut.
        average_decay: decay per step of the weights' running average, which is measured and
            saved; 0 saves the last step's weights.
        precision: arithmetic of the matrix products; the weights stay float32.
        checkpoint_steps: steps between two checkpoints.
        frozen_layers: the lowest layers, which get no adapter. What they make of the rows is
            computed once a run and kept in half precision; noise, too, is then drawn once.
        learn_held_out: whether the final run learns from the held-out rows, too. If not, the
            trial's adapter is the one that is written, and the held-out figures are its own.
    """

    seed: int
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    warmup_ratio: Share
    weight_decay: float = Field(ge=0)
    max_gradient_norm: float = Field(gt=0)
    max_tokens: int = Field(ge=4)
    average_decay: Share = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_steps: int = Field(ge=1, default=100)
    frozen_layers: int = Field(ge=0, default=0)
    learn_held_out: bool = True
    lora: LoraSettings
    noise: StyleNoise | None = None


class FinetuneSettings(RunSettings):
    """Everything that decides the adapter of one level, apart from base, labels and data.

    Attributes:
        candidates: each is tried without the held-out rows; the best is trained finally. A
            single one is only measured.
        max_false_positive_rate: Level 1's threshold is proposed as the lowest at which no more
            than this share of the held-out safe texts is flagged.
    """

    candidates: tuple[Candidate, ...] = Field(min_length=1)
    label_smoothing: Share = 0.0
    max_false_positive_rate: Share = 0.1
    data: DataRules


class SharedSettings(RunSettings):
    """The table `[finetune]`: a run whose adapter several levels share.

    Attributes:
        epochs: each number is tried without the held-out rows; the best is trained finally.
        file_defaults: of every level's data; a level's own go before them.
    """

    epochs: tuple[Annotated[int, Field(ge=1)], ...] = Field(min_length=1)
    file_defaults: Mapping[str, FileDefaults] = Field(default_factory=dict)


class TaskSettings(_Table):
    """The table `[levels.NAME.task]`: what a level learns in the run that it shares.

    Attributes:
        loss_weight: weight of the level's mean loss beside those of the other levels, whatever
            the levels' numbers of rows.
        class_balance, source_balance: see Candidate.
        label_smoothing: share of the target that is spread over the labels; of a multi-label
            level, each label's target moves by this share towards one half.
        max_false_positive_rate: as for FinetuneSettings, for a level with a label to look for.
    """

    loss_weight: float = Field(gt=0, default=1.0)
    class_balance: Balance = "none"
    source_balance: Balance = "none"
    label_smoothing: Share = 0.0
    max_false_positive_rate: Share = 0.1
    data: DataRules
