"""Consistency of decisions under translation: rows of one group in several languages."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate_evaluation.estimates import Estimate, share
from hazgate_evaluation.rows import LabelledRow
from hazgate_evaluation.truth import Truth


@dataclass(frozen=True, kw_only=True, slots=True)
class TranslationFigures:
    """Rows of one language compared with the rows they translate.

    `still_flagged` is the flagged share of `n_unsafe` translations of flagged unsafe rows,
    `newly_flagged` the flagged share of `n_safe` translations of passed safe rows. Wilson
    intervals.
    """

    language: str
    n_unsafe: int
    n_safe: int
    still_flagged: Estimate | None
    newly_flagged: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Translations:
    """Each language against `pivot`, the most frequent language in groups of several."""

    pivot: str
    languages: tuple[TranslationFigures, ...]


def translation_figures(
    rows: Sequence[LabelledRow], truth: Truth, flagged: NDArray[np.bool_]
) -> Translations | None:
    """Compare each translation's decision with its pivot row's; None without pairs.

    A pair is two rows of one group and one Level 1 label, the first of them in the pivot language
    and rightly judged.

    Args:
        rows: all rows.
        truth: their labels.
        flagged: the decision on each, shape [n].
    """
    languages: dict[int, set[str]] = {}
    for i in np.flatnonzero(truth.known).tolist():
        lang = rows[i].lang
        if lang is not None:
            languages.setdefault(int(truth.group[i]), set()).add(lang)
    several = {group for group, found in languages.items() if len(found) > 1}
    members = [
        (i, lang)
        for i, row in enumerate(rows)
        if (lang := row.lang) is not None and truth.known[i] and int(truth.group[i]) in several
    ]
    if not members:
        return None
    # Ties go to the alphabetically first language.
    counts = Counter(lang for _, lang in members)
    pivot = min(counts, key=lambda lang: (-counts[lang], lang))
    right = {
        (int(truth.group[i]), bool(truth.unsafe[i]))
        for i, lang in members
        if lang == pivot and flagged[i] == truth.unsafe[i]
    }
    decisions: dict[tuple[str, bool], list[bool]] = {}
    for i, lang in members:
        unsafe = bool(truth.unsafe[i])
        if lang != pivot and (int(truth.group[i]), unsafe) in right:
            decisions.setdefault((lang, unsafe), []).append(bool(flagged[i]))
    others = sorted({lang for lang, _ in decisions})
    return Translations(pivot=pivot, languages=tuple(_figures(lang, decisions) for lang in others))


def _figures(lang: str, decisions: dict[tuple[str, bool], list[bool]]) -> TranslationFigures:
    unsafe, safe = (decisions.get((lang, kind), []) for kind in (True, False))
    return TranslationFigures(
        language=lang,
        n_unsafe=len(unsafe),
        n_safe=len(safe),
        still_flagged=share(np.array(unsafe, dtype=np.bool_)),
        newly_flagged=share(np.array(safe, dtype=np.bool_)),
    )
