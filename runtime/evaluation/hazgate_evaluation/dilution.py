"""Decisions on a text that stands among harmless ones, by their length and by its place."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hazgate_evaluation.estimates import SEED, Estimate, share
from hazgate_evaluation.robustness import RobustnessSample
from hazgate_evaluation.rows import LabelledRow

Place = Literal["in front", "in the middle", "behind"]

# Tokens of harmless text: from a few words to several windows.
DILUTION_TOKENS = (10, 20, 40, 60, 100, 200, 400)
PLACES: tuple[Place, ...] = ("in front", "in the middle", "behind")


@dataclass(frozen=True, kw_only=True, slots=True)
class DilutionFigures:
    """Decisions on texts with `n_tokens` of harmless text around, at one place among it.

    `still_flagged` is the share of flagged unsafe rows that stay flagged, `newly_flagged` the
    share of passed safe rows that are flagged now. Intervals are Wilson's.
    """

    n_tokens: int
    place: Place
    still_flagged: Estimate | None
    newly_flagged: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dilution:
    """One sample of rows that Level 1 got right, diluted by every length and at every place.

    Harmless texts are safe rows that Level 1 passed, of a row's own language where there are any.
    """

    n_unsafe: int
    n_safe: int
    figures: tuple[DilutionFigures, ...]


def n_diluted_texts(sample: RobustnessSample) -> int:
    """Return the number of texts that `measure_dilution` asks about."""
    return (len(sample.unsafe) + len(sample.safe)) * len(DILUTION_TOKENS) * len(PLACES)


def measure_dilution(
    rows: Sequence[LabelledRow],
    sample: RobustnessSample,
    harmless: NDArray[np.int64],
    flags: Callable[[Sequence[str]], NDArray[np.bool_]],
    token_ends: Callable[[str], Sequence[int]],
) -> Dilution | None:
    """Put each row of the sample among harmless texts and compare decisions.

    The seed is fixed.

    Args:
        rows: the rows that the sample was drawn from.
        sample: see `hazgate_evaluation.robustness.choose_sample`.
        harmless: positions of the safe rows that Level 1 passed, all with tokens.
        flags: gives the decisions on texts, shape [n].
        token_ends: gives the end of each token of a text, in characters.

    Returns:
        The figures; None if fewer than two rows are harmless.
    """
    if len(harmless) < 2:
        return None
    positions = [*sample.unsafe.tolist(), *sample.safe.tolist()]
    around = {i: _harmless_text(i, rows, harmless, token_ends) for i in positions}
    n_unsafe = len(sample.unsafe)
    figures = []
    for n_tokens, place in itertools.product(DILUTION_TOKENS, PLACES):
        texts = [
            dilute(rows[i].text, around[i].text, around[i].ends, n_tokens, place) for i in positions
        ]
        flagged = flags(texts)
        figures.append(
            DilutionFigures(
                n_tokens=n_tokens,
                place=place,
                still_flagged=share(flagged[:n_unsafe]),
                newly_flagged=share(flagged[n_unsafe:]),
            )
        )
    return Dilution(n_unsafe=n_unsafe, n_safe=len(sample.safe), figures=tuple(figures))


def dilute(text: str, harmless: str, ends: Sequence[int], n_tokens: int, place: Place) -> str:
    """Return a text among the first `n_tokens` tokens of a harmless one.

    Args:
        text: stays whole.
        harmless: has at least so many tokens.
        ends: the end of each of its tokens, in characters.
        n_tokens: at least 1.
        place: of the text: half of the tokens are on each side in the middle.
    """
    n_front = {"in front": 0, "in the middle": n_tokens // 2, "behind": n_tokens}[place]
    cut = ends[n_front - 1] if n_front else 0
    parts = (harmless[:cut], text, harmless[cut : ends[n_tokens - 1]])
    return " ".join(part.strip() if part is not text else part for part in parts if part.strip())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Harmless:
    text: str
    ends: Sequence[int]


def _harmless_text(
    row: int,
    rows: Sequence[LabelledRow],
    harmless: NDArray[np.int64],
    token_ends: Callable[[str], Sequence[int]],
) -> _Harmless:
    """Join harmless rows in random order, other than `row`, until there are enough tokens."""
    order = np.random.default_rng([SEED, row]).permutation(harmless).tolist()
    others = [i for i in order if i != row]
    same = [i for i in others if rows[i].lang == rows[row].lang]
    next_row = itertools.cycle(same or others)
    text = rows[next(next_row)].text
    while len(ends := token_ends(text)) < DILUTION_TOKENS[-1]:
        text = f"{text} {rows[next(next_row)].text}"
    return _Harmless(text=text, ends=ends)
