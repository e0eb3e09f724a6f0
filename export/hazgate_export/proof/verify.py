"""The gate: an export's answers against the reference's, and what may differ."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import Batching, Manifest, TokenizerSpec
from hazgate.cli.progress import track
from hazgate.engine.session import Session
from hazgate.judging.scores import Activation, calibrated
from hazgate.text.batching import pad
from hazgate_export.parity import Parity
from hazgate_export.proof.texts import Case
from hazgate_export.recipe import ParityLimits

# Padding and batching are tried up to this length; beyond it they only repeat the same mask.
_MAX_MIXED_TOKENS = 512
_BATCH_ROWS = 8
# Rows x longest row of a batch of any lengths; a longer row has one neighbour.
_BATCH_TOKENS = 1024
# Layouts that the runtime never uses are tried on a sample: their figure gates nothing.
_UNSERVED_STRIDE = 3
_SEED = 20261


@dataclass(frozen=True, kw_only=True, slots=True)
class Boundary:
    """Where a level's decision changes.

    For the gate level: the side of `threshold` on which P(`positive`) lies. For the others
    (`positive` is None): which label is most probable; of multi-label heads, which labels hold.
    """

    positive: int | None
    threshold: float
    activation: Activation = "softmax"

    def decide(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """The decision of each row of `logits` [n, n_labels] as a number, shape [n]."""
        if self.positive is not None:
            unsafe = calibrated(logits, 1.0, self.activation)[:, self.positive]
            return (unsafe >= self.threshold).astype(np.int64)
        if self.activation == "sigmoid":
            # A bit for each label that holds.
            return np.asarray((logits >= 0) @ (1 << np.arange(logits.shape[1], dtype=np.int64)))
        return np.asarray(logits.argmax(axis=1), dtype=np.int64)

    def margin(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far each row's probability lies from where its decision changes, shape [n]."""
        probabilities = calibrated(logits, 1.0, self.activation)
        if self.positive is None and self.activation == "sigmoid":
            return np.asarray(np.abs(probabilities - 0.5).min(axis=1))
        if self.positive is None:
            ranked = np.sort(probabilities, axis=1)
            return np.asarray(ranked[:, -1] - ranked[:, -2])
        return np.abs(probabilities[:, self.positive] - self.threshold)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Layout:
    """Logits [n, n_labels] of the cases `order` [n], run in one way."""

    order: NDArray[np.int64]
    logits: NDArray[np.float32]


def boundary_of(manifest: Manifest, level: str) -> Boundary:
    """Where decisions of a bundle's level change."""
    cascade = manifest.cascade
    is_gate = cascade.level1 == level
    labels = manifest.levels[level].labels
    return Boundary(
        positive=labels.index(cascade.positive_label) if is_gate else None,
        threshold=cascade.threshold,
        activation=manifest.levels[level].activation,
    )


def measure(
    session: Session,
    cases: Sequence[Case],
    reference: NDArray[np.float32],
    *,
    level: str,
    variant: str,
    batching: Batching,
    tokenizer: TokenizerSpec,
    boundary: Boundary,
    gate: ParityLimits,
    try_unserved: bool = True,
) -> Parity:
    """Runs every case through `session` as the runtime does and judges it against `gate`.

    Args:
        session: the exported graph.
        cases: the inputs.
        reference: the reference's logits of each case, shape [len(cases), n_labels].
        level: the level's name, for the report.
        variant: the variant's name, for the report.
        batching: how the runtime batches this variant.
        tokenizer: what padding consists of, and how long an input may be.
        boundary: where the level's decision changes.
        gate: what the variant must meet.
        try_unserved: also report how logits move in layouts that the runtime never uses.
    """
    every = list(range(len(cases)))
    mixed = [i for i in every if len(cases[i].input_ids) <= _MAX_MIXED_TOKENS]
    label = f"{level} {variant}"
    run = functools.partial(_run, session, cases, tokenizer)
    alone = run(track([[i] for i in every], f"{label}: alone"), stretch=1)
    n_served = {"padded": 3, "packed": 3, "equal_length": 1, "alone": 0}[batching]
    if n_served < 3:
        mixed = mixed[::_UNSERVED_STRIDE]
    layouts: dict[str, tuple[list[list[int]], int]] = {
        "batched, equal lengths": (_equal_batches(cases), 1),
        "padded": ([[i] for i in mixed], 2),
        "batched": (_shuffled_batches(cases, mixed), 1),
    }
    tried = list(layouts.items())[: None if try_unserved else n_served]
    others = [
        run(track(batches, f"{label}: {how}"), stretch=stretch) for how, (batches, stretch) in tried
    ]
    served, unserved = [alone, *others[:n_served]], others[n_served:]
    differences = np.concatenate(
        [np.abs(got.logits - reference[got.order]).max(axis=1) for got in served]
    )
    texts = np.array([case.is_text for case in cases])
    wanted = boundary.decide(reference)
    changed = np.zeros(len(cases), dtype=bool)
    for got in served:
        changed[got.order] |= boundary.decide(got.logits) != wanted[got.order]
    changed &= texts
    outside = changed & (boundary.margin(reference) > gate.decision_margin)
    measured = Parity(
        level=level,
        variant=variant,
        n_cases=len(cases),
        n_texts=int(texts.sum()),
        max_abs_logit_diff=float(differences.max()),
        p99_abs_logit_diff=float(np.percentile(differences, 99)),
        max_invariance_diff=_moved(alone, others[:n_served]),
        unserved_batch_diff=_moved(alone, unserved) if unserved else None,
        decisions_changed=int(changed.sum()),
        changed_outside_margin=int(outside.sum()),
        changed=tuple(cases[int(i)].id for i in np.flatnonzero(changed)),
        problems=(),
    )
    return _judged(measured, gate)


def _moved(alone: _Layout, others: Sequence[_Layout]) -> float:
    """The most that a case's logits differ between `alone` and any of `others`."""
    differences = [np.abs(got.logits - alone.logits[got.order]).max() for got in others]
    return float(np.max(differences, initial=0.0))


def _judged(measured: Parity, gate: ParityLimits) -> Parity:
    name = f"{measured.level} {measured.variant}"
    problems = []
    # Written so that NaN fails.
    if not measured.max_abs_logit_diff <= gate.max_abs_logit_diff:
        problems.append(
            f"{name}: logits differ by {measured.max_abs_logit_diff:.2e}, "
            f"at most {gate.max_abs_logit_diff:.0e} is allowed"
        )
    if not measured.max_invariance_diff <= gate.max_invariance_diff:
        problems.append(
            f"{name}: a text's logits move by {measured.max_invariance_diff:.2e} with padding or "
            f"neighbours, at most {gate.max_invariance_diff:.0e} is allowed"
        )
    if measured.changed_outside_margin > gate.max_changed_share * measured.n_texts:
        problems.append(
            f"{name}: {measured.changed_outside_margin} of {measured.n_texts} decisions changed "
            f"({', '.join(measured.changed[:5])}), at most {gate.max_changed_share:.1%} may"
        )
    return dataclasses.replace(measured, problems=tuple(problems))


def _equal_batches(cases: Sequence[Case]) -> list[list[int]]:
    """Batches of cases of one length; a case whose length is its own is its own neighbour."""
    groups: dict[int, list[int]] = {}
    for i, case in enumerate(cases):
        if len(case.input_ids) <= _MAX_MIXED_TOKENS:
            groups.setdefault(len(case.input_ids), []).append(i)
    batches: list[list[int]] = []
    for group in groups.values():
        whole = group if len(group) > 1 else group * 2
        batches.extend(whole[i : i + _BATCH_ROWS] for i in range(0, len(whole), _BATCH_ROWS))
    return batches


def _shuffled_batches(cases: Sequence[Case], indices: Sequence[int]) -> list[list[int]]:
    """Batches of any lengths side by side, of two rows or more."""
    batches: list[list[int]] = [[]]
    for i in np.random.default_rng(_SEED).permutation(indices).tolist():
        batch = batches[-1]
        longest = max(len(cases[j].input_ids) for j in (*batch, i))
        full = len(batch) == _BATCH_ROWS or (len(batch) + 1) * longest > _BATCH_TOKENS
        if full and len(batch) > 1:
            batches.append([i])
        else:
            batch.append(i)
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2] += batches.pop()
    return batches


def _run(
    session: Session,
    cases: Sequence[Case],
    tokenizer: TokenizerSpec,
    batches: Iterable[Sequence[int]],
    *,
    stretch: int,
) -> _Layout:
    """Runs batches of cases, padded to `stretch` × the longest, as far as the model's limit."""
    order: list[int] = []
    rows = []
    for batch in batches:
        input_ids, mask = pad([cases[i].input_ids for i in batch], tokenizer.pad_token_id)
        longest = input_ids.shape[1]
        extra = ((0, 0), (0, min(stretch * longest, tokenizer.max_tokens) - longest))
        order.extend(batch)
        rows.append(
            session.run(
                np.pad(input_ids, extra, constant_values=tokenizer.pad_token_id),
                np.pad(mask, extra),
            )
        )
    return _Layout(order=np.array(order), logits=np.concatenate(rows))
