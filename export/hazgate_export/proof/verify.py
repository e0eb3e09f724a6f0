"""Measurement of an exported graph against the reference, and judgement by the limits."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import Batching, GraphKind
from hazgate.cli.progress import track
from hazgate.engine.exits import Exits
from hazgate.engine.processor import n_processors
from hazgate.engine.session import OrtSession, Session
from hazgate.text.batching import pad
from hazgate_export.graphs.half import runnable_here
from hazgate_export.parity import Parity
from hazgate_export.proof.subject import Head, Subject, rows_of_case
from hazgate_export.proof.texts import Case
from hazgate_export.recipe import ParityLimits
from hazgate_export.schemes import Precision

# Padding and batching are tried up to this length; beyond it they only repeat the same mask.
_MAX_MIXED_TOKENS = 512
_BATCH_ROWS = 8
# Rows x longest row of a batch of any lengths; a longer row has one neighbour.
_BATCH_TOKENS = 1024
# Layouts that the runtime never uses are tried on a sample: no limit applies to their figure.
_UNSERVED_STRIDE = 3
_SEED = 20261


@dataclass(frozen=True, kw_only=True, slots=True)
class TestedGraph:
    """A graph to measure: the file, the way to run it, and the limits that it must keep.

    With `exits`, rows are read whole.
    """

    variant: str
    file: Path
    kind: GraphKind
    precision: Precision
    batching: Batching
    limits: ParityLimits
    exits: Exits | None = None


@dataclass(frozen=True, slots=True)
class _ReadWhole:
    """A session of a graph with exits whose rows are read whole; without the exits' column."""

    session: Session

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Return the logits of the labels alone."""
        return self.session.run(input_ids, attention_mask, may_leave)[:, :-1]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Layout:
    """Logits [n, n_logits] of the rows `order` [n], run in one way."""

    order: NDArray[np.int64]
    logits: NDArray[np.float32]

    def of(self, columns: slice) -> "_Layout":
        """Keep a level's columns of the logits."""
        return _Layout(order=self.order, logits=self.logits[:, columns])


@contextmanager
def _opened(subject: Subject, graph: TestedGraph) -> Iterator[Session]:
    """Open a graph file on this machine's CPU; a half graph by its float32 twin."""
    with runnable_here(graph.file, graph.precision) as file:
        session = OrtSession(
            file,
            kind=graph.kind,
            n_labels=subject.n_logits,
            threads=n_processors(),
            per_token=subject.per_token,
            exits=graph.exits,
        )
        yield session if graph.exits is None else _ReadWhole(session)


def measure_graph(subject: Subject, graph: TestedGraph) -> tuple[Parity, ...]:
    """Measure a graph file at each level, on this CPU; a half graph by its float32 twin."""
    with _opened(subject, graph) as session:
        return measure(
            subject,
            session,
            variant=graph.variant,
            batching=graph.batching,
            limits=graph.limits,
        )


def find_missed_of_graph(
    subject: Subject, graph: TestedGraph, first: Sequence[int]
) -> tuple[int, ...]:
    """Find cases with which a graph file misses its limits; see `find_missed`."""
    with _opened(subject, graph) as session:
        return find_missed(
            subject, session, variant=graph.variant, limits=graph.limits, first=first
        )


def find_missed(
    subject: Subject,
    session: Session,
    *,
    variant: str,
    limits: ParityLimits,
    first: Sequence[int],
) -> tuple[int, ...]:
    """Run cases alone until the limits are missed.

    Args:
        subject: the body.
        session: the exported graph.
        variant: the variant's name, for the progress bar.
        limits: what the variant must keep at every level.
        first: indices of cases to run before the others, e.g. those that another graph missed.

    Returns:
        Indices of the cases that miss the limits at one of the levels; none if `measure` would
        pass the graph, run alone.
    """
    cases = subject.cases
    n_decisions = sum(cases[i].is_text for i in subject.case_of_row.tolist())
    allowed = limits.max_changed_share * n_decisions
    order = list(dict.fromkeys((*first, *range(len(cases)))))
    outside: dict[str, list[int]] = {head.level: [] for head in subject.heads}
    n_outside = dict.fromkeys(outside, 0)
    most = limits.logit_diff(per_token=subject.per_token)
    for i in track(order, f"{subject.name} {variant}: alone"):
        ran = _run(subject, session, [[i]], stretch=1)
        for head in subject.heads:
            logits, wanted = ran.of(head.columns).logits, head.reference[ran.order]
            # Written so that NaN fails; a text without a token of its own has no row.
            if not np.abs(logits - wanted).max(initial=0.0) <= most:
                return (i,)
            boundary, missed = head.boundary, outside[head.level]
            if not cases[i].is_text:
                continue
            changed = boundary.decide(logits) != boundary.decide(wanted)
            n_changed = int((changed & (boundary.margin(wanted) > limits.decision_margin)).sum())
            if n_changed:
                missed.append(i)
                n_outside[head.level] += n_changed
                if n_outside[head.level] > allowed:
                    return tuple(missed)
    return ()


def measure(
    subject: Subject,
    session: Session,
    *,
    variant: str,
    batching: Batching,
    limits: ParityLimits,
) -> tuple[Parity, ...]:
    """Run every case through `session` as the runtime does, and judge each level by `limits`.

    Args:
        subject: the body; its cases run once for all of its levels.
        session: the exported graph.
        variant: the variant's name, for the report.
        batching: how the runtime batches this variant.
        limits: what the variant must keep.

    Returns:
        One measurement for each level, in the order of the subject's heads.
    """
    cases = subject.cases
    every = list(range(len(cases)))
    mixed = [i for i in every if len(cases[i].input_ids) <= _MAX_MIXED_TOKENS]
    label = f"{subject.name} {variant}"
    run = functools.partial(_run, subject, session)
    alone = run(track([[i] for i in every], f"{label}: alone"), stretch=1)
    n_served = {"padded": 3, "packed": 3, "equal_length": 1, "alone": 0}[batching]
    if n_served < 3:
        mixed = mixed[::_UNSERVED_STRIDE]
    layouts: dict[str, tuple[list[list[int]], int]] = {
        "batched, equal lengths": (_equal_batches(cases), 1),
        "padded": ([[i] for i in mixed], 2),
        "batched": (_shuffled_batches(cases, mixed), 1),
    }
    others = [
        run(track(batches, f"{label}: {how}"), stretch=stretch)
        for how, (batches, stretch) in layouts.items()
    ]
    measured = (
        _compare(
            subject,
            head,
            alone.of(head.columns),
            [layout.of(head.columns) for layout in others],
            n_served=n_served,
            variant=variant,
            decision_margin=limits.decision_margin,
        )
        for head in subject.heads
    )
    return tuple(_judged(parity, limits) for parity in measured)


def _compare(
    subject: Subject,
    head: Head,
    alone: _Layout,
    others: Sequence[_Layout],
    *,
    n_served: int,
    variant: str,
    decision_margin: float,
) -> Parity:
    """Compare a level's logits in every layout with the reference's; judge nothing yet."""
    cases, case_of_row = subject.cases, subject.case_of_row
    reference, boundary = head.reference, head.boundary
    served, unserved = [alone, *others[:n_served]], others[n_served:]
    differences = np.concatenate(
        [np.abs(got.logits - reference[got.order]).max(axis=1) for got in served]
    )
    is_text = np.array([case.is_text for case in cases])
    texts = is_text[case_of_row]
    wanted = boundary.decide(reference)
    changed = np.zeros(len(reference), dtype=bool)
    for got in served:
        changed[got.order] |= boundary.decide(got.logits) != wanted[got.order]
    changed &= texts
    outside = changed & (boundary.margin(reference) > decision_margin)
    return Parity(
        level=head.level,
        variant=variant,
        n_cases=len(cases),
        n_texts=int(is_text.sum()),
        max_abs_logit_diff=float(differences.max()),
        p99_abs_logit_diff=float(np.percentile(differences, 99)),
        max_invariance_diff=_moved(alone, others[:n_served]),
        unserved_batch_diff=_moved(alone, unserved) if unserved else None,
        decisions_changed=int(changed.sum()),
        changed_outside_margin=int(outside.sum()),
        changed=tuple(cases[i].id for i in dict.fromkeys(case_of_row[changed].tolist())),
        problems=(),
        n_tags=int(texts.sum()) if subject.per_token else None,
    )


def _moved(alone: _Layout, others: Sequence[_Layout]) -> float:
    """Give the most that a row's logits differ between `alone` and any of `others`."""
    differences = [np.abs(got.logits - alone.logits[got.order]).max() for got in others]
    return float(np.max(differences, initial=0.0))


def _judged(measured: Parity, limits: ParityLimits) -> Parity:
    name = f"{measured.level} {measured.variant}"
    problems = []
    # Written so that NaN fails.
    most = limits.logit_diff(per_token=measured.n_tags is not None)
    if not measured.max_abs_logit_diff <= most:
        problems.append(
            f"{name}: logits differ by {measured.max_abs_logit_diff:.2e}, "
            f"at most {most:g} is allowed"
        )
    if not measured.max_invariance_diff <= limits.max_invariance_diff:
        problems.append(
            f"{name}: a text's logits move by {measured.max_invariance_diff:.2e} with padding or "
            f"neighbours, at most {limits.max_invariance_diff:g} is allowed"
        )
    if measured.changed_outside_margin > limits.max_changed_share * measured.n_decisions:
        problems.append(
            f"{name}: {measured.changed_outside_margin} of {measured.n_decisions} decisions "
            f"changed ({', '.join(measured.changed[:5])}), "
            f"at most {limits.max_changed_share:.1%} may"
        )
    return dataclasses.replace(measured, problems=tuple(problems))


def _equal_batches(cases: Sequence[Case]) -> list[list[int]]:
    """Batch cases of equal length; a case with a length of its own is its own neighbour."""
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
    """Batch cases of any lengths, two rows or more per batch."""
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
    subject: Subject, session: Session, batches: Iterable[Sequence[int]], *, stretch: int
) -> _Layout:
    """Run batches of cases, padded to `stretch` × the longest, up to the model's limit."""
    tokenizer, cases = subject.tokenizer, subject.cases
    order: list[int] = []
    rows: list[NDArray[np.float32]] = []
    for batch in batches:
        input_ids, mask = pad([cases[i].input_ids for i in batch], tokenizer.pad_token_id)
        longest = input_ids.shape[1]
        extra = ((0, 0), (0, min(stretch * longest, tokenizer.max_tokens) - longest))
        logits = session.run(
            np.pad(input_ids, extra, constant_values=tokenizer.pad_token_id),
            np.pad(mask, extra),
        )
        order.extend(batch)
        rows.extend(rows_of_case(cases[i], own) for i, own in zip(batch, logits, strict=True))
    return _Layout(order=subject.rows_of(order), logits=np.concatenate(rows))
