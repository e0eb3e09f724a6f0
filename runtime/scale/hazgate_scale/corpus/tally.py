"""Counts of a shard, and their sums over a run."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hazgate.judging.verdict import Verdict
from hazgate_scale.corpus.rows import DeadLetter
from hazgate_scale.corpus.scripts import script_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Counts of rows by their outcome.

    `rows_in` counts all rows found, `rows_out` the rows written. `unvouched` counts rows
    in a language that the bundle does not vouch for, `errors` dead letters by class, and `hazards`
    flagged rows by hazard. `work_s` is the time of shards, summed over workers.
    """

    rows_in: int = 0
    rows_out: int = 0
    flagged: int = 0
    truncated: int = 0
    not_understood: int = 0
    unvouched: int = 0
    tokens_total: int = 0
    tokens_read: int = 0
    work_s: float = 0.0
    hazards: Mapping[str, int] = field(default_factory=dict)
    scripts: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return total([self, other])


def total(tallies: Iterable[Tally]) -> Tally:
    """Add tallies; keys of counts are in alphabetical order."""
    every = list(tallies)
    return Tally(
        rows_in=sum(tally.rows_in for tally in every),
        rows_out=sum(tally.rows_out for tally in every),
        flagged=sum(tally.flagged for tally in every),
        truncated=sum(tally.truncated for tally in every),
        not_understood=sum(tally.not_understood for tally in every),
        unvouched=sum(tally.unvouched for tally in every),
        tokens_total=sum(tally.tokens_total for tally in every),
        tokens_read=sum(tally.tokens_read for tally in every),
        work_s=sum(tally.work_s for tally in every),
        hazards=_sum(tally.hazards for tally in every),
        scripts=_sum(tally.scripts for tally in every),
        errors=_sum(tally.errors for tally in every),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    summed: Counter[str] = Counter()
    for each in counts:
        summed.update(each)
    return dict(sorted(summed.items()))


def tally_of(
    texts: Sequence[str], verdicts: Sequence[Verdict], dead: Sequence[DeadLetter], n_written: int
) -> Tally:
    """Count some rows; a bad file among `dead` is no row."""
    flagged = [verdict for verdict in verdicts if verdict.flagged]
    return Tally(
        rows_in=len(texts) + sum(letter.position is not None for letter in dead),
        rows_out=n_written,
        flagged=len(flagged),
        truncated=sum(verdict.truncated for verdict in verdicts),
        not_understood=sum(not verdict.understood for verdict in verdicts),
        unvouched=sum(verdict.language is not None for verdict in verdicts),
        tokens_total=sum(verdict.tokens.total for verdict in verdicts),
        tokens_read=sum(verdict.tokens.read for verdict in verdicts),
        hazards=Counter(verdict.hazard for verdict in flagged if verdict.hazard),
        scripts=Counter(map(script_of, texts)),
        errors=Counter(letter.error for letter in dead),
    )
