"""The bundle's manifest: the only contract between export and runtime.

`manifest_checks` reads `bundle.json`. `runtime/README.md` is the normative description of the
format.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from string import Formatter
from typing import Literal

from hazgate.bundle.language_specs import LanguageSpec
from hazgate.documents.decode import absent_if_none, encode, spelt
from hazgate.errors import BundleError
from hazgate.judging.scores import Activation
from hazgate.judging.tags import Tags

MANIFEST_FILE = "bundle.json"
# The newest that is read; see `schema_version_of`.
SCHEMA_VERSION = 4
# The name to ask for when hazgate should choose the variant.
AUTO = "auto"
# The probability from which a label of a multi-label head holds, if nothing else is stated.
DEFAULT_THRESHOLD = 0.5

Batching = Literal["padded", "equal_length", "alone", "packed"]
GraphKind = Literal["authored", "portable", "fused"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSpec:
    """Size and digest that a file of the bundle must have."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerSpec:
    """The tokenizer that turns text into `input_ids`, and the windows that it cuts.

    The model can read `max_tokens` at once and was proven on that many. Texts are read in windows
    of `window_tokens`, which share `overlap_tokens` of the text; both counts include special
    tokens. With `close_tokens`, a text of several windows is also read in windows of that many,
    each overlapping half of the next: in a wide window, one sentence can get lost.

    With `sentences_from_tokens`, a text of one window and at least so many tokens, special ones
    included, is also read sentence by sentence, see `hazgate.text.sentences`. By itself, without
    its context, a sentence looks worse than it is: there, the log-odds of a level's positive label
    count `sentence_margin` less; without it, they count in full.

    `special_tokens_in_text` decides about special tokens that a user typed: "text" splits them
    like any other word, "token" lets them become that token.
    """

    file: str
    max_tokens: int
    window_tokens: int
    overlap_tokens: int
    close_tokens: int | None
    sentences_from_tokens: int | None = field(default=None, metadata=absent_if_none())
    sentence_margin: float | None = field(default=None, metadata=absent_if_none())
    pad_token_id: int
    special_tokens_in_text: Literal["text", "token"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSpec:
    """Origin of weights: a name, the pinned revision, and the digests of what was read.

    Attributes:
        id: the published name.
        revision: the commit, or None where there is none.
        sha256: digest of the weights as published.
        files: SHA-256 of every file that the build read, by its published name; None in bundles
            of earlier releases.
        converted: SHA-256 of the safetensors that pickled weights were turned into before they
            were read, by the pickled file's name.
    """

    id: str
    revision: str | None
    sha256: str
    files: Mapping[str, str] | None = field(default=None, metadata=absent_if_none())
    converted: Mapping[str, str] | None = field(default=None, metadata=absent_if_none())


@dataclass(frozen=True, kw_only=True, slots=True)
class ParitySpec:
    """Distance of a variant's answers from those of the PyTorch model with its adapter.

    `max_abs_logit_diff` and `decisions_changed` are over `n_texts` texts, each run the way the
    runtime runs this variant; `max_invariance_diff` is the most that neighbours or padding
    moved a text's logits. A token level decides on each of the texts' `n_tags` tokens; other levels
    have no such number. `parity.json` in the bundle has the whole report.
    """

    n_texts: int
    max_abs_logit_diff: float
    max_invariance_diff: float
    decisions_changed: int
    n_tags: int | None = field(default=None, metadata=absent_if_none())

    @property
    def n_decisions(self) -> int:
        """Decisions on all texts."""
        return self.n_texts if self.n_tags is None else self.n_tags


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitsSpec:
    """The early exits of a variant's graph: the probe file, and the layers that have an exit.

    See hazgate.engine.exits for the file. A layer's number counts from 1.
    """

    file: str
    after_layers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantSpec:
    """One ONNX graph of a level: inputs `input_ids`, `attention_mask`; output `logits`.

    The logits are [batch, labels], of a token level [batch, sequence, labels].

    An `authored` graph consists of ONNX Runtime's fused CPU operators, a `portable` one of plain
    ONNX operators that any execution provider takes, a `fused` one of hazgate-kernels' operators.

    `batching` says which texts may share a run without changing each other's scores:

    - `padded`: any texts, padded to the longest;
    - `equal_length`: texts of one length, without padding (padding moves the last bit of a
      float, and int8 can turn that into a whole step);
    - `alone`: one text per run (ONNX Runtime's dynamic quantisation takes one activation scale
      for the whole batch);
    - `packed`: any texts; the graph leaves padding out, so a batch costs what its tokens cost.

    With `exits`, texts that are surely safe may leave the graph early; its further inputs and its
    last column are those of hazgate.engine.session.OrtSession.
    """

    graph: str
    data: tuple[str, ...]
    kind: GraphKind
    precision: Literal["fp32", "fp16", "bf16", "int8"]
    scheme: str
    execution_providers: tuple[str, ...]
    batching: Batching
    parity: ParitySpec
    exits: ExitsSpec | None = field(default=None, metadata=absent_if_none())

    @property
    def files(self) -> tuple[str, ...]:
        """The bundle's files of this variant: the graph, its data, and the probe file."""
        return (self.graph, *self.data, *(() if self.exits is None else (self.exits.file,)))

    @property
    def is_exact(self) -> bool:
        """True if a text's logits on a CPU are the same to the last bit in any company.

        They are where a text runs alone, and where the arithmetic is in whole numbers and the
        build has seen nothing move. A sum of floats depends on the shape of its batch, also where
        the build's few texts did not show it.
        """
        if self.parity.max_invariance_diff:
            return False
        return self.batching == "alone" or (self.precision == "int8" and self.batching != "padded")


@dataclass(frozen=True, kw_only=True, slots=True)
class PositiveSpec:
    """The label that a level looks for: a text is flagged if P(`label`) ≥ `threshold`."""

    label: str
    threshold: float
    threshold_source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnsSpec:
    """A level's place in the logits of a graph that computes several levels in one pass.

    The level's logits are the columns from `first` on, one per label, of the graph's `width`.
    """

    first: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelSpec:
    """One classifier: its labels in the order of its logits, and its variants by name.

    With `columns`, the level is a head on a body that it shares with other levels: all of them
    name the same graphs, and one pass computes their logits. Without, the graph is its own.

    `activation` turns logits into probabilities: "softmax" if exactly one label holds,
    "sigmoid" if each label holds or not by itself (a multi-label head). A label of a multi-label
    head holds from its entry in `thresholds` on, without one from DEFAULT_THRESHOLD on.
    `positive` makes a level that stands alone a gate; in a cascade, the cascade says it.

    Without an `adapter`, `base` is the checkpoint of the whole classifier.

    With `output`, the level gives a tag to each token, and its labels are the tags; see
    hazgate.judging.tags for their names and for `outside`. With `tagged`, each word has the tag of
    its first token, see hazgate.text.words: the head was trained on these tokens alone. Such a
    token level has its graph to itself, and no threshold.
    """

    labels: tuple[str, ...]
    activation: Activation = "softmax"
    positive: PositiveSpec | None = field(default=None, metadata=absent_if_none())
    thresholds: Mapping[str, float] | None = field(default=None, metadata=absent_if_none())
    family: str
    pooling: str
    tokenizer: TokenizerSpec
    base: SourceSpec
    adapter: SourceSpec | None
    variants: Mapping[str, VariantSpec]
    columns: ColumnsSpec | None = field(default=None, metadata=absent_if_none())
    output: Literal["tokens"] | None = field(default=None, metadata=absent_if_none())
    outside: str | None = field(default=None, metadata=absent_if_none())
    tagged: Literal["words"] | None = field(default=None, metadata=absent_if_none())

    @property
    def per_token(self) -> bool:
        """True if the level gives logits of each token, False if of the text."""
        return self.output is not None

    @property
    def tags(self) -> Tags:
        """The meaning of a token level's labels."""
        return Tags.of(self.labels, self.outside)

    @property
    def n_logits(self) -> int:
        """Columns of the graph's logits: of all levels on its body."""
        return len(self.labels) if self.columns is None else self.columns.width

    @property
    def own_columns(self) -> slice:
        """The level's columns of the graph's logits."""
        first = 0 if self.columns is None else self.columns.first
        return slice(first, first + len(self.labels))

    @property
    def label_thresholds(self) -> tuple[float, ...]:
        """The probability from which each label of a multi-label head holds, in their order."""
        stated = dict(self.thresholds or {})
        if self.positive is not None:
            stated[self.positive.label] = self.positive.threshold
        return tuple(stated.get(label, DEFAULT_THRESHOLD) for label in self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class CascadeSpec:
    """The order of the levels: `level2` is read if P(`positive_label`) ≥ `threshold`."""

    level1: str = field(metadata=spelt("gate"))
    positive_label: str
    threshold: float
    threshold_source: str
    level2: str = field(metadata=spelt("hazards"))


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationSpec:
    """Format of a conversation as one text: turns formatted by `turn`, joined by `separator`.

    `turn` has the field {content} once, and may have {role}.
    """

    turn: str
    separator: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Everything that a runtime needs to know about a bundle before it opens a model.

    Without a `cascade`, each level stands alone. `canaries` is the file of texts whose logits are
    known, see hazgate.engine.canaries. `languages` has those that the bundle vouches for, by
    primary tags of BCP 47; without it no text is marked.
    """

    schema_version: int
    name: str
    description: str
    default_variant: str
    levels: Mapping[str, LevelSpec]
    cascade: CascadeSpec | None = field(default=None, metadata=absent_if_none())
    conversation: ConversationSpec
    files: Mapping[str, FileSpec]
    provenance: Mapping[str, str]
    canaries: str | None = None
    languages: Mapping[str, LanguageSpec] | None = field(default=None, metadata=absent_if_none())

    def files_of(self, variant: str) -> set[str]:
        """Return the files that serving `variant` reads; of a level without it, the tokenizer."""
        files = set() if self.canaries is None else {self.canaries}
        for level in self.levels.values():
            files.add(level.tokenizer.file)
            if variant in level.variants:
                files.update(level.variants[variant].files)
        return files

    def bodies(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of the levels by body: those that one pass computes stand together."""
        bodies: dict[object, list[str]] = {}
        for name, level in self.levels.items():
            graphs = tuple((variant, spec.graph) for variant, spec in level.variants.items())
            bodies.setdefault(graphs if level.columns else name, []).append(name)
        return tuple(map(tuple, bodies.values()))

    def body_of(self, level: str) -> tuple[str, ...]:
        """Return the levels that one pass computes together with this one, itself included."""
        return next(body for body in self.bodies() if level in body)

    def positive_of(self, level: str) -> PositiveSpec | None:
        """Return what flags a text at a level: its own statement, or the cascade's of Level 1."""
        cascade = self.cascade
        if cascade is None or level != cascade.level1:
            return self.levels[level].positive
        return PositiveSpec(
            label=cascade.positive_label,
            threshold=cascade.threshold,
            threshold_source=cascade.threshold_source,
        )

    def cascade_for(self, need: str) -> CascadeSpec:
        """Return the cascade that something needs.

        Args:
            need: what needs it, as the subject of a sentence.

        Raises:
            BundleError: the bundle has none.
        """
        if self.cascade is None:
            per_token = any(level.per_token for level in self.levels.values())
            readers = (
                "hazgate classify, and in Python by TokenClassifier.open"
                if per_token
                else "hazgate classify and serve, and in Python by Classifier.open"
            )
            raise BundleError(
                f"{need} needs a cascade of two levels, and {self.name} has none: "
                f"{', '.join(self.levels)} stands alone; it is read by {readers}"
            )
        return self.cascade

    def level_named(self, level: str | None) -> str:
        """Return the level that was asked for; None asks for the only one.

        Raises:
            BundleError: there is no such level, or several and none was named.
        """
        if level is None and len(self.levels) > 1:
            raise BundleError(
                f"{self.name} has the levels {', '.join(self.levels)}: name the one to open"
            )
        if level is not None and level not in self.levels:
            raise BundleError(f"{self.name} has no level {level!r}, only {', '.join(self.levels)}")
        return next(iter(self.levels)) if level is None else level

    def dump(self) -> bytes:
        """Return the canonical text of this manifest: same manifest, same bytes."""
        return (json.dumps(encode(self), indent=2, ensure_ascii=False) + "\n").encode()


def schema_version_of(
    levels: Mapping[str, LevelSpec], languages: Mapping[str, LanguageSpec] | None = None
) -> int:
    """Return the oldest schema version that can describe a bundle, which the bundle states."""
    cuts = [level.tokenizer for level in levels.values()]
    variants = [spec for level in levels.values() for spec in level.variants.values()]
    if (
        languages is not None
        or any(spec.exits is not None for spec in variants)
        or any(
            cut.sentences_from_tokens is not None or cut.sentence_margin is not None for cut in cuts
        )
    ):
        return 4
    if any(level.per_token for level in levels.values()):
        return 3
    return 1 if all(level.columns is None for level in levels.values()) else 2


def is_turn(template: str) -> bool:
    """Return True if `template` can format a turn of a conversation.

    A width or another format is refused: `{content:{role}}` would let a caller's role choose it.
    """
    try:
        parsed = [part for part in Formatter().parse(template) if part[1] is not None]
    except ValueError:
        return False
    fields = [field for _, field, _, _ in parsed]
    plain = not any(width or conversion for _, _, width, conversion in parsed)
    return plain and fields.count("content") == 1 and set(fields) <= {"content", "role"}


def is_inside(path: str) -> bool:
    """Return True if `path` is a plain relative POSIX path that cannot leave the bundle."""
    parts = PurePosixPath(path).parts
    return (
        bool(parts)
        and str(PurePosixPath(path)) == path
        and not path.startswith("/")
        and ".." not in parts
        and "\\" not in path
        and ":" not in path
        # Neither control characters, which reach a terminal, nor lone surrogates.
        and path.isprintable()
        and path != MANIFEST_FILE
    )
