"""The parity of a token level compares every token, and can fail at each."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from hazgate.bundle.manifest import Batching
from hazgate_export.bundle.report import parity_table
from hazgate_export.parity import Parity
from hazgate_export.proof.canaries import choose_canaries
from hazgate_export.proof.subject import Boundary, Head, Subject
from hazgate_export.proof.texts import Case
from hazgate_export.proof.verify import find_missed, measure
from hazgate_export.recipe import ParityLimits
from tests.support.subjects import EXACT, TOKENIZER

N_TAGS = 5
# One special token before each text and one behind it; the last two cases are plain tokens.
CASES = (
    Case(id="empty", is_text=True, input_ids=(1, 2), n_before=1, n_after=1),
    *(
        Case(id=f"text-{i}", is_text=True, input_ids=(1, *range(5, 5 + n), 2), n_before=1,
             n_after=1)
        for i, n in enumerate((1, 2, 3, 3, 9))
    ),
    *(Case(id=f"{n}-tokens", is_text=False, input_ids=tuple(range(7, 7 + n))) for n in (1, 4)),
)  # fmt: skip
_TABLE = np.random.default_rng(3).normal(0, 4, (40, N_TAGS)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class TableSession:
    """Logits of each token by its id; tags swapped, tokens shifted or special tokens spoilt."""

    swapped: bool = False
    shift: int = 0
    special_error: float = 0.0
    leak: float = 0.0

    def run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        may_leave: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        logits = _TABLE[input_ids].copy()
        logits[input_ids <= 2] += self.special_error
        # As of a model that does not leave padding out.
        logits += self.leak * (attention_mask == 0).sum(axis=1)[:, None, None]
        if self.swapped:
            logits[..., [1, 2]] = logits[..., [2, 1]]
        return np.roll(logits, self.shift, axis=1)


@pytest.fixture(scope="module")
def subject() -> Subject:
    reference = np.concatenate([_TABLE[list(case.input_ids)][case.own] for case in CASES])
    return Subject(
        cases=CASES,
        tokenizer=TOKENIZER,
        n_logits=N_TAGS,
        heads=(
            Head(
                level="entities",
                columns=slice(None),
                reference=reference,
                boundary=Boundary(positive=None, threshold=0.5),
            ),
        ),
        per_token=True,
    )


def _measured(
    subject: Subject,
    session: TableSession,
    batching: Batching = "padded",
    limits: ParityLimits = EXACT,
) -> Parity:
    (parity,) = measure(subject, session, variant="fp32", batching=batching, limits=limits)
    return parity


def _wide(**limits: float) -> ParityLimits:
    values = {"max_abs_logit_diff": 99, "max_invariance_diff": 99, "max_changed_share": 0.0}
    return ParityLimits.model_validate({**values, **limits})


@pytest.mark.parametrize("batching", ["padded", "packed", "equal_length", "alone"])
def test_an_honest_graph_passes_in_every_layout(subject: Subject, batching: Batching) -> None:
    parity = _measured(subject, TableSession(), batching)
    assert parity.passed
    assert parity.max_abs_logit_diff == 0
    # 0 + 1 + 2 + 3 + 3 + 9 tokens of texts.
    assert (parity.n_texts, parity.n_tags, parity.n_cases) == (6, 18, 8)
    assert "0 of 18 tags" in parity_table([parity])


def test_swapped_tags_miss_the_limits_by_their_logits_and_by_their_decisions(
    subject: Subject,
) -> None:
    assert not _measured(subject, TableSession(swapped=True)).passed
    parity = _measured(subject, TableSession(swapped=True), limits=_wide())
    assert not parity.passed
    assert "decisions changed" in parity.problems[0]


@pytest.mark.parametrize("shift", [1, -1])
def test_tokens_shifted_by_one_miss_the_limits(subject: Subject, shift: int) -> None:
    parity = _measured(subject, TableSession(shift=shift))
    assert not parity.passed
    assert not _measured(subject, TableSession(shift=shift), limits=_wide()).passed
    # Each text is named once, however many of its tags changed.
    assert len(set(parity.changed)) == len(parity.changed)


def test_special_tokens_around_a_text_do_not_count(subject: Subject) -> None:
    assert _measured(subject, TableSession(special_error=50.0)).passed


def test_logits_that_padding_moves_miss_the_limits(subject: Subject) -> None:
    parity = _measured(subject, TableSession(leak=1e-3))
    assert any("move by" in problem for problem in parity.problems)
    assert _measured(subject, TableSession(leak=1e-3), "alone").passed


def test_the_search_for_misses_agrees_with_the_measurement(subject: Subject) -> None:
    def found(session: TableSession, limits: ParityLimits) -> tuple[int, ...]:
        return find_missed(subject, session, variant="int8", limits=limits, first=())

    assert found(TableSession(), EXACT) == ()
    assert found(TableSession(special_error=50.0), EXACT) == ()
    # The first case with a token of its own.
    assert found(TableSession(swapped=True), EXACT) == (1,)
    assert found(TableSession(shift=1), _wide())


def test_a_share_of_changed_tags_is_one_of_all_tags(subject: Subject) -> None:
    parity = _measured(subject, TableSession(swapped=True), limits=_wide())
    share = parity.decisions_changed / 18
    assert 0 < share < 1
    allowed = _wide(max_changed_share=share + 1e-9)
    assert _measured(subject, TableSession(swapped=True), limits=allowed).passed
    session = TableSession(swapped=True)
    assert find_missed(subject, session, variant="int8", limits=allowed, first=()) == ()


def test_tags_have_a_limit_of_their_own_where_the_recipe_gives_one(subject: Subject) -> None:
    def passes(limits: ParityLimits) -> tuple[bool, bool]:
        session = TableSession(swapped=True)
        missed = find_missed(subject, session, variant="int8", limits=limits, first=())
        return _measured(subject, session, limits=limits).passed, missed == ()

    share = {"max_changed_share": 0.99}
    assert passes(_wide(**share)) == (True, True)
    assert passes(_wide(**share, max_abs_tag_logit_diff=1e-4)) == (False, False)
    assert passes(_wide(**share, max_abs_logit_diff=1e-4)) == (False, False)
    wide_tags = _wide(**share, max_abs_logit_diff=1e-4, max_abs_tag_logit_diff=99)
    assert passes(wide_tags) == (True, True)
    assert wide_tags.logit_diff(per_token=False) == 1e-4


def test_canaries_have_the_logits_of_a_texts_own_tokens(subject: Subject) -> None:
    canaries = choose_canaries(subject, subject.heads[0].reference)
    assert canaries
    for canary in canaries:
        assert canary.first is not None
        n_tokens = len(canary.logits) // N_TAGS
        ids = canary.input_ids[canary.first : canary.first + n_tokens]
        assert n_tokens
        np.testing.assert_array_equal(
            np.array(canary.logits, dtype=np.float32).reshape(n_tokens, N_TAGS), _TABLE[list(ids)]
        )
