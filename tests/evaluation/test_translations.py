"""Decisions on translations are held against those on what they translate."""

import numpy as np

from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.translations import translation_figures
from tests.support.labelled import row, truth


def _rows(*languages: str | None) -> list[LabelledRow]:
    return [row(i, lang=lang) for i, lang in enumerate(languages)]


def test_a_translation_counts_beside_a_rightly_judged_row_of_its_label() -> None:
    # Groups: 0 unsafe and flagged, 1 unsafe but passed, 2 safe and passed, 3 in one language.
    rows = _rows("en", "de", "fr", "en", "de", "en", "de", "en", "en", "en")
    labels = truth(
        [True, True, True, True, True, False, False, True, False, True],
        group=[0, 0, 0, 1, 1, 2, 2, 3, 3, 1],
    )
    flagged = np.array([1, 0, 1, 0, 1, 0, 1, 1, 0, 0], dtype=np.bool_)
    found = translation_figures(rows, labels, flagged)
    assert found is not None
    assert found.pivot == "en"
    german, french = found.languages
    assert (german.language, german.n_unsafe, german.n_safe) == ("de", 1, 1)
    assert german.still_flagged is not None
    assert german.newly_flagged is not None
    assert (german.still_flagged.value, german.newly_flagged.value) == (0, 1)
    assert (french.language, french.n_unsafe, french.n_safe) == ("fr", 1, 0)
    assert french.still_flagged is not None
    assert french.still_flagged.value == 1
    assert french.newly_flagged is None


def test_rows_of_one_group_with_other_labels_are_no_translations() -> None:
    found = translation_figures(
        _rows("en", "de"), truth([True, False], group=[0, 0]), np.array([True, True])
    )
    assert found is not None
    assert found.languages == ()


def test_without_groups_of_several_languages_there_is_nothing_to_say() -> None:
    labels = truth([True, False, None], group=[0, 0, 0])
    flagged = np.zeros(3, dtype=np.bool_)
    assert translation_figures(_rows("en", "en", "de"), labels, flagged) is None
    assert translation_figures(_rows("en", None, "de"), labels, flagged) is None
