"""What a run counts: of one shard, and added up."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from hazgate.corpus.rows import DeadLetter
from hazgate.corpus.scripts import script_of
from hazgate.verdict import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Counts of rows, by what became of them.

    `rows_in` are all that were found, `rows_out` those that were written; `errors` counts the
    others of mode annotate, by class. `hazards` counts flagged rows by their hazard. `work_s` is
    the time that shards took, summed over the workers.
    """

    rows_in: int = 0
    rows_out: int = 0
    flagged: int = 0
    truncated: int = 0
    tokens_total: int = 0
    tokens_read: int = 0
    work_s: float = 0.0
    hazards: Mapping[str, int] = field(default_factory=dict)
    scripts: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Tally") -> "Tally":
        return total([self, other])


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies, keys of counts in alphabetical order."""
    every = list(tallies)
    sums: dict[str, object] = {}
    for each in fields(Tally):
        values = [getattr(tally, each.name) for tally in every]
        if each.name in ("hazards", "scripts", "errors"):
            counts: Counter[str] = Counter()
            for value in values:
                counts.update(value)
            sums[each.name] = dict(sorted(counts.items()))
        else:
            sums[each.name] = sum(values)
    return Tally(**sums)


def tally_of(
    texts: Sequence[str], verdicts: Sequence[Verdict], dead: Sequence[DeadLetter], n_written: int
) -> Tally:
    """The tally of some rows; a bad file among `dead` is no row."""
    flagged = [verdict for verdict in verdicts if verdict.flagged]
    return Tally(
        rows_in=len(texts) + sum(letter.position is not None for letter in dead),
        rows_out=n_written,
        flagged=len(flagged),
        truncated=sum(verdict.truncated for verdict in verdicts),
        tokens_total=sum(verdict.tokens.total for verdict in verdicts),
        tokens_read=sum(verdict.tokens.read for verdict in verdicts),
        hazards=Counter(verdict.hazard for verdict in flagged if verdict.hazard),
        scripts=Counter(map(script_of, texts)),
        errors=Counter(letter.error for letter in dead),
    )
