"""A body under test: its inputs, and the reference's answers and boundaries of its levels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import DEFAULT_THRESHOLD, Manifest, TokenizerSpec
from hazgate.judging.scores import Activation, calibrated
from hazgate_export.proof.texts import Case
from hazgate_export.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Boundary:
    """The place where a level's decision changes.

    For a level with a positive label: the side of `threshold` on which P(`positive`) lies. For the
    others (`positive` is None): the most probable label; with multi-label heads, the set of labels
    that hold, each from its own entry in `thresholds` on (None: DEFAULT_THRESHOLD).
    """

    positive: int | None
    threshold: float
    activation: Activation = "softmax"
    thresholds: tuple[float, ...] | None = None

    def decide(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """Give the decision of each row of `logits` [n, n_labels] as a number, shape [n]."""
        if self.positive is not None:
            unsafe = calibrated(logits, 1.0, self.activation)[:, self.positive]
            return (unsafe >= self.threshold).astype(np.int64)
        if self.activation == "sigmoid":
            # One bit for each label that holds.
            held = calibrated(logits, 1.0, self.activation) >= self._label_thresholds
            return np.asarray(held @ (1 << np.arange(logits.shape[1], dtype=np.int64)))
        return np.asarray(logits.argmax(axis=1), dtype=np.int64)

    def margin(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give the distance of each row's probability from the boundary, shape [n]."""
        probabilities = calibrated(logits, 1.0, self.activation)
        if self.positive is None and self.activation == "sigmoid":
            return np.asarray(np.abs(probabilities - self._label_thresholds).min(axis=1))
        if self.positive is None:
            ranked = np.sort(probabilities, axis=1)
            return np.asarray(ranked[:, -1] - ranked[:, -2])
        return np.abs(probabilities[:, self.positive] - self.threshold)

    @property
    def _label_thresholds(self) -> NDArray[np.float64]:
        """Give the thresholds of a multi-label head, shape [n_labels] or [1]."""
        return np.asarray(self.thresholds or (DEFAULT_THRESHOLD,), dtype=np.float64)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Head:
    """A level under test: its part of the logits that a graph computes.

    Attributes:
        level: name of the level, for reports.
        columns: the level's columns of the graph's logits.
        reference: the reference's logits, float32 [n_rows, n_labels]; see `Subject` for the rows.
        boundary: where the level's decision changes.
    """

    level: str
    columns: slice
    reference: NDArray[np.float32]
    boundary: Boundary


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subject:
    """A body to measure graphs of: one level, or several that one pass computes.

    Logits are compared row by row, and each row is a decision. A case has one row; at a token level
    it has one for each of its tokens, without the special tokens around a text.

    Attributes:
        cases: the inputs.
        tokenizer: gives the padding id and the longest input.
        n_logits: columns of the graph's logits.
        heads: the levels.
        per_token: True for a token level.
    """

    cases: Sequence[Case]
    tokenizer: TokenizerSpec
    n_logits: int
    heads: tuple[Head, ...]
    per_token: bool = False

    @property
    def case_of_row(self) -> NDArray[np.int64]:
        """The index of each row's case, shape [n_rows]."""
        return np.repeat(np.arange(len(self.cases)), self._n_rows)

    def rows_of(self, cases: Sequence[int]) -> NDArray[np.int64]:
        """Give the rows of some cases, one case after the other."""
        ends = np.cumsum(self._n_rows)
        return np.concatenate(
            [np.arange(ends[i] - self._n_rows[i], ends[i], dtype=np.int64) for i in cases]
        )

    @property
    def _n_rows(self) -> NDArray[np.int64]:
        if self.per_token:
            return np.array([case.n_own for case in self.cases], dtype=np.int64)
        return np.ones(len(self.cases), dtype=np.int64)

    @property
    def name(self) -> str:
        """The names of the levels, for messages."""
        return "+".join(head.level for head in self.heads)


def subject_of(
    described: Manifest | Recipe,
    cases: Sequence[Case],
    tokenizer: TokenizerSpec,
    n_logits: int,
    references: Mapping[str, NDArray[np.float32]],
) -> Subject:
    """Make a body's subject.

    Args:
        described: the manifest or the recipe that describes the levels.
        cases: the inputs.
        tokenizer: of the body.
        n_logits: columns of its graphs' logits.
        references: the reference's logits of each level, float32 [n_rows, n_labels].
    """
    return Subject(
        cases=cases,
        tokenizer=tokenizer,
        n_logits=n_logits,
        heads=tuple(
            Head(
                level=name,
                columns=described.levels[name].own_columns,
                reference=reference,
                boundary=boundary_of(described, name),
            )
            for name, reference in references.items()
        ),
        per_token=any(described.levels[name].per_token for name in references),
    )


def rows_of_case(case: Case, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give a case's rows [n, n_logits], of logits of the text [n_logits] or of its tokens.

    Args:
        case: the input.
        logits: shape [n_logits] or [tokens, n_logits]; there may be padding behind the tokens.
    """
    if logits.ndim == 1:
        return logits[None]
    return logits[: len(case.input_ids)][case.own]


def boundary_of(described: Manifest | Recipe, level: str) -> Boundary:
    """Find where decisions of a level change, in a bundle's manifest or in a recipe."""
    spec = described.levels[level]
    positive = described.positive_of(level)
    # The positive label of a multi-label level is one of its labels, with its threshold; only in a
    # cascade does nothing else matter.
    decides = positive is not None and (spec.positive is None or spec.activation == "softmax")
    return Boundary(
        positive=spec.labels.index(positive.label) if positive and decides else None,
        threshold=positive.threshold if positive else DEFAULT_THRESHOLD,
        activation=spec.activation,
        thresholds=spec.label_thresholds if spec.activation == "sigmoid" else None,
    )


def lengths_of(recipe: Recipe) -> tuple[int, ...]:
    """List the token counts to try; the served limit is always among them."""
    return tuple(sorted({*recipe.parity.lengths, recipe.tokenizer.max_tokens}))
