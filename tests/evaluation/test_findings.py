"""Suspected labels and comparisons name rows, and only those that they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from hazgate_evaluation.comparison import Judged, compare, paired_test
from hazgate_evaluation.estimates import share
from hazgate_evaluation.label_errors import suspected_labels, suspected_positions
from hazgate_evaluation.robustness import choose_sample, measure_robustness
from tests.support.labelled import row, scores, truth

LABELS = ("a", "b", "c")


# Suspected label errors


def test_a_label_is_suspect_where_another_reaches_its_threshold_and_is_likelier() -> None:
    given_labels = np.array([0, 0, 0, 1, 1, 1])
    p_second = np.array([0.1, 0.2, 0.95, 0.9, 0.8, 0.45])
    # Thresholds: mean P(first) of its rows 0.5833, mean P(second) of its rows 0.7167.
    suspects = suspected_labels(
        given_labels, np.column_stack([1 - p_second, p_second]), ("x", "y"), np.arange(6) + 100
    )
    # Row 105 is likelier of the first class, but not confidently: 0.55 is below the threshold.
    assert [(each.row, each.given, each.suggested) for each in suspects] == [(102, "x", "y")]
    assert suspects[0].margin == pytest.approx(0.05 - 0.95)


def test_planted_errors_are_found_and_rank_before_right_labels() -> None:
    random = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], 100)
    centres = np.array([[0, 0], [4, 0], [0, 4]])
    points = centres[true] + random.normal(size=(300, 2))
    planted = random.choice(300, size=20, replace=False)
    labels = true.copy()
    labels[planted] = (true[planted] + 1) % 3
    probabilities = cross_val_predict(
        LogisticRegression(), points, labels, cv=5, method="predict_proba"
    )
    positions, suggested = suspected_positions(labels, probabilities)
    found = set(positions.tolist())
    assert len(found & set(planted.tolist())) >= 16
    assert len(found - set(planted.tolist())) <= 10
    assert (suggested == true[positions]).mean() > 0.7
    assert set(positions[:10].tolist()) <= set(planted.tolist())


def test_a_class_that_no_row_has_is_never_suggested() -> None:
    probabilities = np.array([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7], [0.3, 0.1, 0.6]])
    _, suggested = suspected_positions(np.array([0, 1, 0]), probabilities)
    assert 2 not in suggested.tolist()


def test_no_rows_have_no_suspects() -> None:
    assert (
        suspected_labels(
            np.zeros(0, dtype=np.int64), np.zeros((0, 2)), ("x", "y"), np.zeros(0, dtype=np.int64)
        )
        == ()
    )


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, 9), min_size=3, max_size=3)),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None)
def test_suspects_are_ranked_and_never_the_likeliest_label(
    rows: list[tuple[int, list[int]]],
) -> None:
    given_labels = np.array([label for label, _ in rows])
    weights = np.array([values for _, values in rows]) + 0.5
    probabilities = weights / weights.sum(axis=1, keepdims=True)
    suspects = suspected_labels(given_labels, probabilities, LABELS, np.arange(len(rows)))
    margins = [each.margin for each in suspects]
    assert margins == sorted(margins)
    for each in suspects:
        assert each.given != each.suggested
        assert each.p_given < probabilities[each.row].max()


# SystemComparison


def test_mcnemars_exact_test_is_the_binomial_one() -> None:
    first = np.array([True] * 8 + [False] * 2 + [True] * 5)
    second = np.array([False] * 8 + [True] * 2 + [True] * 5)
    found = paired_test(first, second)
    assert (found.n_only_first_right, found.n_only_second_right, found.n_rows) == (8, 2, 15)
    # Twice the share of sequences of ten fair coins with at most two heads: 2 * 56 / 1024.
    assert found.p_value == pytest.approx(2 * 56 / 1024)


def test_systems_that_agree_are_not_told_apart() -> None:
    same = np.array([True, False])
    assert paired_test(same, same).p_value == 1
    assert paired_test(same[:0], same[:0]).p_value == 1


def test_changed_decisions_are_named_by_line_with_both_scores() -> None:
    labels = truth([True, True, False, None], hazard=[0, 0, -1, 1])
    systems = [
        Judged(scores=scores([0.5, 0.9, 0.2, 0.6], [0, 0, 0, 1]), threshold=0.5),
        Judged(scores=scores([0.8, 0.9, 0.4, 0.4], [0, 1, 2, 1]), threshold=0.5),
    ]
    found = compare(
        systems,
        0,
        1,
        labels,
        numbers=np.array([10, 20, 30, 40]),
        names=["a", "a", "safe", "b"],
        labels=LABELS,
    )
    assert [(c.row, c.label, c.hazard_first, c.hazard_second) for c in found.changed] == [
        (20, "a", "a", "b"),
        (40, "b", "b", None),
    ]
    assert (found.changed[1].unsafe_first, found.changed[1].unsafe_second) == (0.6, 0.4)
    assert (found.n_flags_changed, found.n_hazards_changed) == (1, 1)
    # The last row does not count for Level 1, so it is in no test.
    assert (found.level1.n_rows, found.level1.n_only_first_right) == (3, 0)
    assert (found.cascade.n_only_first_right, found.cascade.n_only_second_right) == (1, 0)


# Robustness


def test_a_sample_has_rows_that_were_judged_rightly_and_are_short() -> None:
    rows = [row(i, "x" * (5000 if i == 0 else 5)) for i in range(8)]
    labels = truth([True, True, True, False, False, False, None, None])
    flagged = np.array([True, True, False, True, False, False, True, False])
    sample = choose_sample(rows, labels, flagged, 100)
    assert sample.unsafe.tolist() == [1]
    assert sample.safe.tolist() == [4, 5]
    assert len(choose_sample(rows, labels, flagged, 2).safe) == 1


def test_robustness_counts_what_stays_and_what_is_new() -> None:
    rows = [row(0, "bad words"), row(1, "bad deeds"), row(2, "good")]
    sample = choose_sample(rows, truth([True, True, False]), np.array([True, True, False]), 10)

    def flags(texts: object) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(texts, list)
        as_written = np.array(["bad" in text or text.startswith("```") for text in texts])
        return as_written | np.array(["BAD" in text for text in texts]), as_written

    found = {each.mutation: each for each in measure_robustness(rows, sample, flags).mutations}
    shares = {
        name: (each.still_flagged, each.newly_flagged)
        for name, each in found.items()
        if each.still_flagged and each.newly_flagged
    }
    assert len(shares) == len(found) >= 20

    def of(name: str) -> tuple[float, float]:
        still, newly = shares[name]
        assert still is not None
        assert newly is not None
        return still.value, newly.value

    assert of("lower_case") == (1, 0)
    assert of("upper_case") == (1, 0)
    upper = found["upper_case"]
    assert upper.still_flagged_as_written is not None
    assert upper.still_flagged_as_written.value == 0
    assert of("code_block") == (1, 1)


def test_a_share_of_few_has_a_wide_interval_even_at_the_end() -> None:
    found = share(np.array([True] * 5))
    assert found is not None
    assert found.value == found.high == 1
    # Wilson: 5 / (5 + 1.96²).
    assert found.low == pytest.approx(5 / (5 + 1.959964**2), abs=1e-4)
    assert share(np.zeros(0, dtype=np.bool_)) is None
