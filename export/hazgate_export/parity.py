"""Distance of a variant from the reference."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """Measurements of one variant of one level.

    `max_abs_logit_diff` covers every case in every layout that the runtime uses for this variant
    (alone; and as its batching allows with texts of its own length, padded, or with any others).
    `max_invariance_diff` is the most that a case's logits moved between those layouts.
    `unserved_batch_diff` is that figure for layouts which the runtime never uses, None if it
    uses them all. Decisions are counted over the proof texts only: one for each text or, at a token
    level, the tags of their `n_tags` tokens. `changed` names the texts where one changed.
    """

    level: str
    variant: str
    n_cases: int
    n_texts: int
    max_abs_logit_diff: float
    p99_abs_logit_diff: float
    max_invariance_diff: float
    unserved_batch_diff: float | None
    decisions_changed: int
    changed_outside_margin: int
    changed: tuple[str, ...]
    problems: tuple[str, ...]
    n_tags: int | None = None

    @property
    def n_decisions(self) -> int:
        """Decisions on all proof texts."""
        return self.n_texts if self.n_tags is None else self.n_tags

    @property
    def passed(self) -> bool:
        """True if the variant may be shipped."""
        return not self.problems
