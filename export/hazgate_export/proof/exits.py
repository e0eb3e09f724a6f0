"""Early exits of a written graph: probes fitted, limits proven, whole rows compared.

The labels are the graph's own: a probe learns what the whole graph would say of a window. Some
groups of the recipe's texts fit probes and put limits in order; on the others the claim is tested,
see `hazgate.engine.exit_claim`. What leaves is counted by the graph itself.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from hazgate.cli.progress import step, track
from hazgate.documents.files import sha256
from hazgate.engine.exit_claim import (
    ClaimTerms,
    Floats,
    JudgedWindows,
    evidence_of,
    is_proven,
    limits_to_try,
    loosest_proven,
    missing_flagged,
)
from hazgate.engine.exits import SCHEMA_VERSION, Claim, Exits
from hazgate.engine.processor import n_processors
from hazgate.engine.session import OrtSession
from hazgate.judging.scores import calibrated, lowered
from hazgate.text.batching import pad, plan_batches
from hazgate_export.errors import ExitsUnproven, ParityMissed
from hazgate_export.proof.exit_texts import ExitTexts, ExitWindow
from hazgate_export.proof.subject import Subject
from hazgate_export.recipe import ExitsRecipe

# The inverse strength of the probes' L2 penalty, on standardised states.
_C = 0.01
_FOLDS = 3
_BATCH_TOKENS = 4096
_SEED = 20263


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitGraph:
    """A written graph with exits.

    Attributes:
        variant: its name, for reports.
        level: name of the level.
        graph: the file in the bundle's folder.
        data: its external data, in the manifest's order.
        positive: column of the positive label.
        pad_token_id: of the level's tokenizer.
        sentence_margin: log-odds by which a sentence by itself counts less, see TokenizerSpec.
    """

    variant: str
    level: str
    graph: Path
    data: tuple[Path, ...]
    positive: int
    pad_token_id: int
    sentence_margin: float

    @property
    def name(self) -> str:
        """The level and the variant, for messages."""
        return f"{self.level} {self.variant}"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Seen:
    """Findings of the whole graph: states [n, n_exits, hidden], P(positive) as it counts [n]."""

    states: NDArray[np.float32]
    unsafe: Floats


def prove_exits(graph: ExitGraph, asked: ExitsRecipe, texts: ExitTexts, *, hidden: int) -> Exits:
    """Fit a graph's probes, choose the loosest limits that are proven, and state the claim.

    Args:
        graph: the written graph.
        asked: what the recipe asks for.
        texts: windows to fit and to prove on.
        hidden: width of the layers.

    Raises:
        ExitsUnproven: too few windows are flagged for any claim, no limits are proven, or none let
            a text leave.
    """
    terms = ClaimTerms(
        max_missed_share=asked.max_missed_share,
        confidence=asked.confidence,
        thresholds=asked.thresholds,
    )
    fitted = [window for window in texts.windows if not window.held_out]
    held_out = [window for window in texts.windows if window.held_out]
    step(f"{graph.name}: fit early exits on {len(fitted)} windows, prove on {len(held_out)}")
    exits = _unfitted(graph, terms, asked.after_layers, texts.sha256, hidden, len(fitted))
    session = _open(graph, exits)
    fit, proof = (_see(graph, session, windows, exits) for windows in (fitted, held_out))
    _refuse_too_few(graph, proof.unsafe, terms)
    probes, in_folds = _fit_probes(graph, fit, [window.group for window in fitted])
    judged = JudgedWindows(log_odds=_log_odds(proof.states, probes), unsafe=proof.unsafe)
    limits = loosest_proven(judged, limits_to_try(in_folds, terms.thresholds), terms)
    if limits is None:
        raise ExitsUnproven(
            f"{graph.name}: even the strictest limits are not shown to miss at most "
            f"{terms.max_missed_share:.2%} of what the whole graph flags, with confidence "
            f"{terms.confidence:.0%}. Its probes do not tell what that is: take later layers"
        )
    exits = dataclasses.replace(
        exits,
        # As few digits as give the same float32 again.
        probes=tuple(tuple(float(str(weight)) for weight in probe) for probe in probes),
        limits=tuple(float(str(limit)) for limit in limits.astype(np.float32)),
    )
    left = _left(graph, _open(graph, exits), held_out)
    if not left.any():
        raise ExitsUnproven(
            f"{graph.name}: no window leaves early under limits that are proven. Take later "
            "layers, or leave the exits out"
        )
    if not is_proven(proof.unsafe, left, terms):
        raise ExitsUnproven(f"{graph.name}: the graph lets other windows go than its probes do")
    claim = dataclasses.replace(exits.claim, evidence=evidence_of(proof.unsafe, left, terms))
    return dataclasses.replace(exits, claim=claim)


def check_whole_rows(subject: Subject, plain: Path, graph: ExitGraph, exits: Exits) -> None:
    """Check that rows read whole have the plain graph's logits to the bit, whoever leaves.

    In each batch of cases every second row may leave; all of them may not in another run.

    Raises:
        ParityMissed: a logit differs; says how many rows.
    """
    whole = OrtSession(plain, kind="fused", n_labels=subject.n_logits, threads=n_processors())
    early = _open(graph, exits)
    cases = subject.cases
    order = np.random.default_rng(_SEED).permutation(len(cases)).tolist()
    batches = plan_batches([len(cases[i].input_ids) for i in order], _BATCH_TOKENS, "packed")
    wrong = 0
    for batch in track(batches, f"{graph.name}: rows read whole"):
        rows = [cases[order[i]].input_ids for i in batch]
        input_ids, mask = pad(rows, graph.pad_token_id)
        expected = whole.run(input_ids, mask)
        for may_leave in (np.arange(len(rows)) % 2 == 0, np.zeros(len(rows), dtype=np.bool_)):
            got = early.run(input_ids, mask, may_leave)
            stayed = got[:, -1] <= 0
            wrong += int((got[stayed, :-1] != expected[stayed]).any(axis=1).sum())
    if wrong:
        raise ParityMissed(
            f"{graph.name}: {wrong} rows that were read whole have other logits than in "
            f"{plain.name}; expected the same to the bit"
        )


def _refuse_too_few(graph: ExitGraph, unsafe: Floats, terms: ClaimTerms) -> None:
    missing = missing_flagged(unsafe, terms)
    if missing:
        listed = ", ".join(f"{n} at {threshold:g}" for threshold, n in missing.items())
        raise ExitsUnproven(
            f"{graph.name}: a claim needs {terms.least_flagged} held-out windows that the whole "
            f"graph flags, at each threshold. Missing: {listed}. Add flagged texts to exits.files, "
            "or ask for fewer thresholds"
        )


def _fit_probes(
    graph: ExitGraph, seen: _Seen, groups: Sequence[str]
) -> tuple[NDArray[np.float32], JudgedWindows]:
    """Fit a probe for each exit, float32 [n_exits, hidden + 1].

    Returns:
        The probes, and the windows by probes of other folds: what limits are chosen on must not
        be what a probe was fitted on.
    """
    n_groups = len(set(groups))
    if n_groups < _FOLDS:
        raise ExitsUnproven(
            f"{graph.name}: expected texts of {_FOLDS} groups or more to fit on, got {n_groups}"
        )
    folds = list(GroupKFold(n_splits=_FOLDS).split(groups, groups=groups))
    n_exits = seen.states.shape[1]
    scores = np.empty((len(groups), n_exits))
    for train, test in folds:
        for k in range(n_exits):
            probe = _fit(seen.states[train, k], seen.unsafe[train])
            scores[test, k] = seen.states[test, k] @ probe[:-1] + probe[-1]
    probes = [_fit(seen.states[:, k], seen.unsafe) for k in range(n_exits)]
    return np.stack(probes).astype(np.float32), JudgedWindows(log_odds=scores, unsafe=seen.unsafe)


def _fit(states: NDArray[np.float32], unsafe: Floats) -> Floats:
    """Fit log-odds that are linear in the states [n, hidden] to the probabilities [n].

    Each window counts as both labels, weighted by their probabilities.
    """
    center, spread = states.mean(axis=0), states.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    scaled = ((states - center) / spread).astype(np.float64)
    labels = np.repeat([1, 0], len(scaled))
    weights = np.concatenate([unsafe, 1 - unsafe])
    model = LogisticRegression(C=_C, max_iter=1000)
    model.fit(np.concatenate([scaled, scaled]), labels, sample_weight=weights)
    per_unit = model.coef_[0] / spread
    return np.append(per_unit, model.intercept_[0] - center @ per_unit)


def _log_odds(states: NDArray[np.float32], probes: NDArray[np.float32]) -> Floats:
    """Return what each probe says, [n, n_exits]."""
    wide = states.astype(np.float64)
    return np.asarray(np.einsum("neh,eh->ne", wide, probes[:, :-1]) + probes[:, -1])


def _see(
    graph: ExitGraph, session: OrtSession, windows: Sequence[ExitWindow], exits: Exits
) -> _Seen:
    """Read windows whole."""
    unsafe = np.empty(len(windows))
    states = np.empty((len(windows), len(exits.probes), len(exits.probes[0]) - 1), dtype=np.float32)
    for batch, input_ids, mask in _batches(graph, windows, "read whole"):
        logits, states[batch] = session.pooled(input_ids, mask)
        close = [windows[i].is_sentence for i in batch]
        counted = lowered(logits[:, :-1], close, graph.positive, graph.sentence_margin)
        unsafe[batch] = calibrated(counted, 1.0)[:, graph.positive]
    return _Seen(states=states, unsafe=unsafe)


def _left(
    graph: ExitGraph, session: OrtSession, windows: Sequence[ExitWindow]
) -> NDArray[np.bool_]:
    """Tell which windows leave the graph early, bool [n]."""
    left = np.zeros(len(windows), dtype=np.bool_)
    for batch, input_ids, mask in _batches(graph, windows, "may leave"):
        every = np.ones(len(batch), dtype=np.bool_)
        left[batch] = session.run(input_ids, mask, every)[:, -1] > 0
    return left


def _batches(
    graph: ExitGraph, windows: Sequence[ExitWindow], how: str
) -> Iterator[tuple[list[int], NDArray[np.int64], NDArray[np.int64]]]:
    lengths = [len(window.input_ids) for window in windows]
    for batch in track(plan_batches(lengths, _BATCH_TOKENS, "packed"), f"{graph.name}: {how}"):
        yield (batch, *pad([windows[i].input_ids for i in batch], graph.pad_token_id))


def _open(graph: ExitGraph, exits: Exits) -> OrtSession:
    return OrtSession(graph.graph, kind="fused", n_labels=2, threads=n_processors(), exits=exits)


def _unfitted(
    graph: ExitGraph,
    terms: ClaimTerms,
    after_layers: tuple[int, ...],
    texts_sha256: str,
    hidden: int,
    n_fitted: int,
) -> Exits:
    """Make exits through which nothing leaves, without evidence: pooled states are read so."""
    never = float(np.finfo(np.float32).min)
    return Exits(
        schema_version=SCHEMA_VERSION,
        level=graph.level,
        graph_sha256=sha256(graph.graph),
        weights_sha256=tuple(map(sha256, graph.data)),
        after_layers=after_layers,
        probes=((0.0,) * (hidden + 1),) * len(after_layers),
        limits=(never,) * len(after_layers),
        claim=Claim(
            max_missed_share=terms.max_missed_share,
            confidence=terms.confidence,
            thresholds=terms.thresholds,
            evidence=(),
            texts_sha256=texts_sha256,
            n_fitted=n_fitted,
            source="recipe",
        ),
    )
