"""Subjects under test: small models' cases and references, with one tokenizer description."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hazgate.bundle.manifest import Batching, GraphKind
from hazgate.engine.session import OrtSession
from hazgate_export.parity import Parity
from hazgate_export.proof.subject import Boundary, Head, Subject
from hazgate_export.proof.texts import Case
from hazgate_export.proof.verify import measure
from hazgate_export.recipe import ParityLimits
from tests.support.tokenizers import windows_spec

# The small models have 256 positions, but RoBERTa uses 254.
TOKENIZER = windows_spec(250, 50)
EXACT = ParityLimits(max_abs_logit_diff=1e-4, max_changed_share=0.0, max_invariance_diff=1e-4)


def random_cases(
    lengths: Sequence[int], *, seed: int, vocabulary: int, each: int = 1
) -> tuple[Case, ...]:
    """Draw cases of random ids, `each` of them per length."""
    random = np.random.default_rng(seed)
    return tuple(
        Case(
            id=f"{length}-{i}",
            is_text=True,
            input_ids=tuple(map(int, random.integers(5, vocabulary, size=length))),
        )
        for length in lengths
        for i in range(each)
    )


def subject_of(cases: Sequence[Case], reference: NDArray[np.float32]) -> Subject:
    """Make a subject of level 2 alone."""
    head = Head(
        level="level2",
        columns=slice(None),
        reference=reference,
        boundary=Boundary(positive=None, threshold=0.5),
    )
    n_logits = int(reference.shape[1])
    return Subject(cases=cases, tokenizer=TOKENIZER, n_logits=n_logits, heads=(head,))


def judge_graph(
    subject: Subject,
    file: Path,
    limits: ParityLimits = EXACT,
    *,
    kind: GraphKind,
    batching: Batching,
    threads: int = 2,
) -> Parity:
    """Measure a graph file; several threads share rows as the batch has them."""
    session = OrtSession(file, kind=kind, n_labels=subject.n_logits, threads=threads)
    measured = measure(subject, session, variant=file.stem, batching=batching, limits=limits)
    (parity,) = measured
    return parity
