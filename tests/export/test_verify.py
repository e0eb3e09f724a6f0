"""Parity: its figures and its failures, on arrays and on a real bundle."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hazgate import Bundle, Classifier
from hazgate.bundle.manifest import Batching
from hazgate.errors import BundleError
from hazgate.text.tokenization import Tokenizer
from hazgate_export.bundle.report import parity_table
from hazgate_export.errors import ParityMissed
from hazgate_export.model.sources import LocalSources
from hazgate_export.parity import Parity
from hazgate_export.proof.subject import Boundary, Head, Subject
from hazgate_export.proof.texts import Case, load_proof_texts, make_cases
from hazgate_export.proof.tokenizer_parity import check_tokenizer
from hazgate_export.proof.verify import find_missed, measure
from hazgate_export.recipe import ParityLimits
from hazgate_export.recipe_file import load_recipe
from hazgate_export.verify_bundle import verify_bundle
from tests.support.tokenizers import windows_spec

SPEC = windows_spec(64, 16)
STRICT = ParityLimits(max_abs_logit_diff=1e-4, max_changed_share=0.0, max_invariance_diff=1e-4)
CASES = tuple(
    Case(id=f"case-{i}", is_text=i < 8, input_ids=tuple(range(1, i + 3))) for i in range(10)
)


@dataclasses.dataclass(frozen=True)
class SumSession:
    """Logits [Σ of real ids, 0] / 100, changed by `error` (and by `leak` per padded token)."""

    error: float = 0.0
    leak: float = 0.0

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        total = (input_ids * attention_mask).sum(axis=1) / 100
        padded = (attention_mask == 0).sum(axis=1)
        first = total + self.error + self.leak * padded
        return np.stack([first, np.zeros_like(first)], axis=1).astype(np.float32)


HEAD = Head(
    level="l",
    columns=slice(None),
    reference=np.array([[sum(case.input_ids) / 100, 0] for case in CASES], dtype=np.float32),
    boundary=Boundary(positive=0, threshold=0.5),
)
SUBJECT = Subject(cases=CASES, tokenizer=SPEC, n_logits=2, heads=(HEAD,))


def _measure(
    session: SumSession, limits: ParityLimits = STRICT, *, batching: Batching = "padded"
) -> Parity:
    (parity,) = measure(SUBJECT, session, variant="v", batching=batching, limits=limits)
    return parity


def test_an_exact_export_passes() -> None:
    parity = _measure(SumSession())
    assert parity.passed
    assert parity.n_texts == 8
    assert parity.n_cases == 10


def test_an_error_above_the_bound_fails_and_below_it_passes() -> None:
    assert not _measure(SumSession(error=2e-4)).passed
    assert _measure(SumSession(error=5e-5)).passed


def test_padding_that_leaks_fails_by_invariance() -> None:
    parity = _measure(SumSession(leak=3e-4), STRICT.model_copy(update={"max_abs_logit_diff": 1.0}))
    assert any("padding or neighbours" in problem for problem in parity.problems)


def test_a_variant_that_runs_alone_is_not_charged_for_batches_it_never_sees() -> None:
    parity = _measure(SumSession(leak=3e-4), batching="alone")
    assert parity.passed
    assert parity.max_invariance_diff == 0.0
    assert parity.unserved_batch_diff is not None
    assert parity.unserved_batch_diff > 1e-4


def test_nan_logits_never_pass() -> None:
    assert not _measure(SumSession(error=float("nan"))).passed


def test_changed_decisions_are_counted_over_texts_only_and_named() -> None:
    wide = STRICT.model_copy(update={"max_abs_logit_diff": 99.0})
    parity = _measure(SumSession(error=-10.0), wide)
    assert parity.decisions_changed == 8
    assert parity.changed == tuple(f"case-{i}" for i in range(8))
    assert not parity.passed


def test_decisions_within_the_margin_miss_no_limit_but_are_reported() -> None:
    lenient = STRICT.model_copy(update={"max_abs_logit_diff": 99.0, "decision_margin": 0.4})
    parity = _measure(SumSession(error=-10.0), lenient)
    assert parity.decisions_changed == 8
    assert parity.changed_outside_margin == 0
    assert parity.passed


@dataclasses.dataclass(frozen=True)
class ShiftedSession:
    """Logits [Σ of ids + the shift of a case, 0] / 100; notes the cases that it ran alone."""

    shifts: Sequence[float]
    ran: list[int] = dataclasses.field(default_factory=list)

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        rows = [int(n) - 2 for n in attention_mask.sum(axis=1)]
        if len(rows) == 1:
            self.ran.append(rows[0])
        total = (input_ids * attention_mask).sum(axis=1) / 100
        first = total + np.array([self.shifts[i] for i in rows])
        return np.stack([first, np.zeros_like(first)], axis=1).astype(np.float32)


SHIFTS = st.sampled_from([0.0, 1e-5, 0.05, -0.05, 0.3, -0.3, -9.0, float("nan")])


@given(
    shifts=st.lists(SHIFTS, min_size=len(CASES), max_size=len(CASES)),
    first=st.lists(st.integers(min_value=0, max_value=len(CASES) - 1)),
    most=st.sampled_from([1e-4, 0.1, 99.0]),
    share=st.sampled_from([0.0, 0.2, 0.9]),
    margin=st.sampled_from([0.0, 0.02, 0.4]),
)
@settings(max_examples=40)
def test_a_missed_case_is_found_exactly_if_the_whole_measurement_misses(
    shifts: list[float], first: list[int], most: float, share: float, margin: float
) -> None:
    limits = ParityLimits(
        max_abs_logit_diff=most,
        max_changed_share=share,
        decision_margin=margin,
        max_invariance_diff=99.0,
    )
    head = dataclasses.replace(HEAD, boundary=Boundary(positive=0, threshold=0.53))
    subject = dataclasses.replace(SUBJECT, heads=(head,))
    found = find_missed(subject, ShiftedSession(shifts), variant="v", limits=limits, first=first)
    (whole,) = measure(
        subject, ShiftedSession(shifts), variant="v", batching="alone", limits=limits
    )
    assert (found == ()) == whole.passed
    # Cases that were found miss the limits on their own, in any order.
    assert found == () or find_missed(
        subject, ShiftedSession(shifts), variant="v", limits=limits, first=found
    )


def test_a_graph_is_given_up_at_its_first_miss_and_known_misses_are_tried_first() -> None:
    session = ShiftedSession([0.0] * 4 + [1.0] + [0.0] * 5)
    found = find_missed(SUBJECT, session, variant="v", limits=STRICT, first=())
    assert found == (4,)
    assert session.ran == [0, 1, 2, 3, 4]
    session.ran.clear()
    assert find_missed(SUBJECT, session, variant="v", limits=STRICT, first=(7, *found)) == (4,)
    assert session.ran == [7, 4]


def test_every_case_is_run_before_a_graph_is_kept() -> None:
    session = ShiftedSession([0.0] * len(CASES))
    assert find_missed(SUBJECT, session, variant="v", limits=STRICT, first=(3,)) == ()
    assert sorted(session.ran) == list(range(len(CASES)))


@dataclasses.dataclass(frozen=True)
class TwoHeads:
    """A session's two columns, then the same two again; notes how often it is run."""

    first: ShiftedSession
    second: ShiftedSession
    runs: list[int] = dataclasses.field(default_factory=list)

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        self.runs.append(len(input_ids))
        sessions = (self.first, self.second)
        return np.concatenate([one.run(input_ids, attention_mask) for one in sessions], axis=1)


def _two_heads(second: Sequence[float]) -> tuple[Subject, TwoHeads]:
    heads = tuple(
        dataclasses.replace(HEAD, level=level, columns=slice(first, first + 2))
        for level, first in (("one", 0), ("other", 2))
    )
    session = TwoHeads(ShiftedSession([0.0] * len(CASES)), ShiftedSession(second))
    return dataclasses.replace(SUBJECT, n_logits=4, heads=heads), session


def test_each_level_on_a_body_is_judged_by_its_own_columns_of_the_same_runs() -> None:
    subject, session = _two_heads([0.0] * 9 + [0.25])
    one, other = measure(subject, session, variant="v", batching="alone", limits=STRICT)
    assert (one.level, one.passed, one.max_abs_logit_diff) == ("one", True, 0.0)
    assert (other.level, other.passed) == ("other", False)
    assert other.max_abs_logit_diff == pytest.approx(0.25, abs=1e-6)
    alone = TwoHeads(session.first, session.second)
    lone = dataclasses.replace(subject, heads=subject.heads[:1])
    measure(lone, alone, variant="v", batching="alone", limits=STRICT)
    assert session.runs == alone.runs


@given(
    shifts=st.lists(SHIFTS, min_size=len(CASES), max_size=len(CASES)),
    share=st.sampled_from([0.0, 0.2, 0.9]),
    most=st.sampled_from([1e-4, 0.1, 99.0]),
)
@settings(max_examples=40)
def test_a_case_that_one_level_misses_is_missed_by_its_body(
    shifts: list[float], share: float, most: float
) -> None:
    limits = ParityLimits(
        max_abs_logit_diff=most, max_changed_share=share, max_invariance_diff=99.0
    )
    subject, session = _two_heads(shifts)
    of_body = find_missed(subject, session, variant="v", limits=limits, first=())
    alone = find_missed(SUBJECT, ShiftedSession(shifts), variant="v", limits=limits, first=())
    assert of_body == alone


def test_level1_changes_at_its_threshold_and_the_others_at_argmax() -> None:
    logits = np.log(np.array([[0.7, 0.3], [0.4, 0.6]], dtype=np.float32))
    assert Boundary(positive=1, threshold=0.25).decide(logits).tolist() == [1, 1]
    assert Boundary(positive=None, threshold=0.25).decide(logits).tolist() == [0, 1]
    np.testing.assert_allclose(
        Boundary(positive=1, threshold=0.25).margin(logits), [0.05, 0.35], atol=1e-6
    )
    np.testing.assert_allclose(
        Boundary(positive=None, threshold=0.25).margin(logits), [0.4, 0.2], atol=1e-6
    )


def test_a_multi_label_decision_changes_with_each_label() -> None:
    logits = np.array([[0.0, -1.0, 2.0], [-0.1, -1.0, 2.0], [-3.0, -2.0, -1.0]], dtype=np.float32)
    boundary = Boundary(positive=None, threshold=0.5, activation="sigmoid")
    assert boundary.decide(logits).tolist() == [0b101, 0b100, 0]
    np.testing.assert_allclose(
        boundary.margin(logits), [0.0, 0.5 - 1 / (1 + math.exp(0.1)), 0.2310586], atol=1e-6
    )


def test_level1_with_sigmoid_heads_decides_by_its_positive_label_alone() -> None:
    logits = np.array([[9.0, -0.1], [-9.0, 0.1]], dtype=np.float32)
    boundary = Boundary(positive=1, threshold=0.5, activation="sigmoid")
    assert boundary.decide(logits).tolist() == [0, 1]


def test_the_table_has_a_row_per_variant_and_says_missed() -> None:
    table = parity_table([_measure(SumSession()), _measure(SumSession(error=1.0))])
    assert table.count("\n") == 3
    assert "passed" in table
    assert "MISSED" in table


def test_a_bundle_verifies_against_its_stored_and_against_fresh_references(
    tiny_bundle: Path, tiny_recipe: Path
) -> None:
    bundle = Bundle.open(tiny_bundle)
    stored = verify_bundle(bundle, None, LocalSources())
    fresh = verify_bundle(bundle, load_recipe(tiny_recipe), LocalSources())
    assert all(parity.passed for parity in (*stored, *fresh))
    assert [(p.level, p.variant) for p in stored] == [
        ("level1", "fp32"), ("level1", "int8"), ("level2", "fp32"), ("level2", "int8"),
    ]  # fmt: skip
    for one, other in zip(stored, fresh, strict=True):
        assert one.max_abs_logit_diff == pytest.approx(other.max_abs_logit_diff, abs=1e-6)


def test_a_bundle_of_other_proof_texts_is_not_compared_with_these(bundle_copy: Path) -> None:
    bundle = Bundle.open(bundle_copy)
    document = json.loads((bundle_copy / "parity.json").read_text(encoding="utf-8"))
    document["proof_texts_sha256"] = "0" * 64
    (bundle_copy / "parity.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(BundleError, match="other proof texts"):
        verify_bundle(bundle, None, LocalSources())


def test_the_proof_texts_cover_languages_oddities_and_lengths() -> None:
    proof_texts = load_proof_texts()
    assert len(proof_texts) >= 60
    assert len({text.id for text in proof_texts}) == len(proof_texts)
    assert len({text.lang for text in proof_texts} - {"und", "mul"}) >= 15
    texts = [text.text for text in proof_texts]
    assert "" in texts
    assert any("\0" in text for text in texts)
    assert any("\u202e" in text for text in texts)
    assert max(map(len, texts)) >= 2000


def test_cases_have_the_given_lengths_and_are_the_same_each_time(tiny_bundle: Path) -> None:
    tokenizer = Classifier.of(Bundle.open(tiny_bundle), "level1").tokenizer
    proof_texts = load_proof_texts()
    cases = make_cases(proof_texts, tokenizer, (1, 64), 6000)
    assert [len(case.input_ids) for case in cases[-2:]] == [1, 64]
    assert all(len(case.input_ids) <= 64 for case in cases)
    assert cases == make_cases(proof_texts, tokenizer, (1, 64), 6000)


def _tokenizer_files(tiny_recipe: Path) -> Path:
    return tiny_recipe.parent / "base"


@pytest.mark.parametrize("special", ["text", "token"])
def test_the_tokenizer_equals_transformers_id_by_id(
    tiny_recipe: Path, special: Literal["text", "token"]
) -> None:
    directory = _tokenizer_files(tiny_recipe)
    spec = dataclasses.replace(SPEC, special_tokens_in_text=special)
    check_tokenizer(
        Tokenizer(directory / "tokenizer.json", spec), spec, directory, load_proof_texts()
    )


def test_a_tokenizer_that_reads_special_tokens_differently_is_refused(tiny_recipe: Path) -> None:
    directory = _tokenizer_files(tiny_recipe)
    other = dataclasses.replace(SPEC, special_tokens_in_text="token")
    with pytest.raises(ParityMissed, match="special"):
        check_tokenizer(
            Tokenizer(directory / "tokenizer.json", other), SPEC, directory, load_proof_texts()
        )


def test_a_tokenizer_with_another_limit_is_refused(tiny_recipe: Path) -> None:
    directory = _tokenizer_files(tiny_recipe)
    other = dataclasses.replace(SPEC, window_tokens=63)
    with pytest.raises(ParityMissed, match=r"ids of \d+ of \d+ texts differ"):
        check_tokenizer(
            Tokenizer(directory / "tokenizer.json", other), SPEC, directory, load_proof_texts()
        )


def test_the_runtime_reproduces_the_stored_logits(tiny_bundle: Path) -> None:
    """Compare with the stored reference logits, text by text."""
    bundle = Bundle.open(tiny_bundle)
    document = json.loads((tiny_bundle / "parity.json").read_text(encoding="utf-8"))
    texts: Sequence[str] = [text.text for text in load_proof_texts()]
    classifier = Classifier.of(bundle, "level2", variant="fp32")
    stored = np.array(document["reference_logits"]["level2"][: len(texts)], dtype=np.float32)
    rows = [text.windows[0].input_ids for text in classifier.tokenizer.encode(texts)]
    np.testing.assert_allclose(classifier.logits_of_ids(rows), stored, atol=1e-4)
