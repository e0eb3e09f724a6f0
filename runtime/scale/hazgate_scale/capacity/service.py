"""Cost of texts to an engine: rows by length, interpolated between measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hazgate.errors import InputError
from hazgate_scale.capacity.times import LevelTimes, RunSpread, VariantTimes, Windows

Floats = NDArray[np.float64]

# Level 2 reads the windows of a flagged text that look unsafe by themselves, at least one. Lengths
# do not tell how many.
OPENED_WINDOWS_SHARE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """Costs of several texts in seconds, without the cost of a run itself; shape [texts].

    A run of a level takes `run_level1_s` or `run_level2_s` plus the cost of each text in it.
    `n_tokens` is the text's weight in a queue: rows x tokens of Level 1.
    """

    level1_s: Floats
    level2_s: Floats
    n_tokens: NDArray[np.int64]
    run_level1_s: float
    run_level2_s: float
    spread: RunSpread

    def alone_s(self, flagged: NDArray[np.bool_] | bool) -> Floats:
        """Compute the median time of each text by itself."""
        level2_s = self.run_level2_s + self.level2_s
        return self.run_level1_s + self.level1_s + np.where(flagged, level2_s, 0.0)

    def take(self, index: NDArray[np.intp]) -> "Costs":
        """Select the costs of texts by index; indices may repeat."""
        return Costs(
            level1_s=self.level1_s[index],
            level2_s=self.level2_s[index],
            n_tokens=self.n_tokens[index],
            run_level1_s=self.run_level1_s,
            run_level2_s=self.run_level2_s,
            spread=self.spread,
        )


def costs_of(lengths: Sequence[int], times: VariantTimes, windows: Windows) -> Costs:
    """Compute the costs of texts from their tokens, special tokens included.

    Rows between two measured lengths are interpolated linearly; rows shorter than all of them take
    the time of the shortest. Texts longer than a window are read in several rows.

    Raises:
        InputError: there is no text, or a row is longer than the longest measured one.
    """
    if not lengths:
        raise InputError("no lengths of texts: a capacity plan needs at least one")
    if min(lengths) < 1:
        raise InputError("lengths of texts must be positive")
    distinct = sorted(set(lengths))
    rows = [rows_of(n, windows) for n in distinct]
    longest = max(max(of_text) for of_text in rows)
    measured = min(level.points[-1].tokens for level in (times.level1, times.level2))
    if longest > measured:
        raise InputError(
            f"texts have rows of up to {longest} tokens and the longest measured row has "
            f"{measured}; measure longer rows, or plan with windows of at most {measured} tokens"
        )
    run_level1_s, run_level2_s = (run_s(level, times) for level in (times.level1, times.level2))
    level1 = [float(np.sum(row_s(times.level1, of_text) - run_level1_s)) for of_text in rows]
    level2 = [_level2_s(row_s(times.level2, of_text) - run_level2_s) for of_text in rows]
    place = np.searchsorted(distinct, lengths)
    return Costs(
        level1_s=(np.array(level1) + times.text_ms / 1e3)[place],
        level2_s=np.array(level2)[place],
        n_tokens=np.array([sum(of_text) for of_text in rows], dtype=np.int64)[place],
        run_level1_s=run_level1_s,
        run_level2_s=run_level2_s,
        spread=times.spread,
    )


def rows_of(n_tokens: int, windows: Windows) -> list[int]:
    """List the tokens of each row of a text, as `hazgate.text.tokenization` cuts it.

    A text of one window is taken for one long sentence, which costs more than several.
    """
    special = windows.special_tokens
    n_own = n_tokens - special
    window = windows.window_tokens - special
    rows = _cut(n_own, window, windows.overlap_tokens) if n_own > window else [n_own]
    from_tokens = windows.sentences_from_tokens or windows.window_tokens + 1
    if windows.close_tokens is not None and (n_own > window or n_tokens >= from_tokens):
        close = windows.close_tokens - special
        rows += _cut(n_own, close, close // 2)
    return [n + special for n in rows]


def row_s(level: LevelTimes, n_tokens: Sequence[int]) -> Floats:
    """Interpolate the seconds of each row alone in its run; never less for more tokens."""
    tokens = [point.tokens for point in level.points]
    return np.interp(n_tokens, tokens, [point.ms / 1e3 for point in level.points])


def run_s(level: LevelTimes, times: VariantTimes) -> float:
    """Estimate a run's fixed cost: the line through the two shortest rows at zero tokens.

    Only packed rows share it. Rows of other batchings seldom do and count as running alone.
    """
    if times.batching != "packed":
        return 0.0
    first, second = level.points[:2]
    slope = (second.ms - first.ms) / (second.tokens - first.tokens)
    return min(max(0.0, first.ms - slope * first.tokens), first.ms) / 1e3


def spread_factor(spread: RunSpread, quantiles: Floats) -> Floats:
    """Interpolate time over median at quantiles in [0, 1]; constant beyond measured ones."""
    return np.interp(quantiles, [0.05, 0.5, 0.95, 0.99], [spread.p5, 1, spread.p95, spread.p99])


def _level2_s(rows: Floats) -> float:
    return float(max(rows.max(), OPENED_WINDOWS_SHARE * rows.sum()))


def _cut(n_tokens: int, window: int, overlap: int) -> list[int]:
    starts = range(0, n_tokens - overlap, window - overlap)
    return [min(start + window, n_tokens) - start for start in starts]
