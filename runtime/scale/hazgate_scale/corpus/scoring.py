"""Scoring of rows; a refused row does not affect the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.errors import InferenceError, InputError
from hazgate.gate import Gate
from hazgate.judging.verdict import Verdict
from hazgate_scale.corpus.rows import DeadLetter, ErrorKind, Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Verdicts of the rows whose indices `kept` lists; `dead` has the other rows."""

    kept: list[int]
    verdicts: list[Verdict]
    dead: list[DeadLetter]


def score(
    gate: Gate, rows: Rows, *, all_levels: bool, levels: Sequence[str], tenant: str | None
) -> Scored:
    """Score every row that can be scored; arguments as of `Gate.check_many`.

    Raises:
        InferenceError: the model fails on every row, so no single row is at fault.
    """

    def check(texts: Sequence[str]) -> list[Verdict]:
        # What is written outlives the thresholds of today.
        return gate.check_many(
            texts, all_levels=all_levels, levels=levels, tenant=tenant, whole=True
        )

    def check_one(i: int) -> Verdict | DeadLetter:
        kind: ErrorKind
        try:
            return check([rows.texts[i]])[0]
        except InputError as error:
            kind, message = "refused", str(error)
        except InferenceError as error:
            kind, message = "inference_failed", str(error)
        return DeadLetter(position=rows.positions[i], error=kind, message=message)

    every = range(len(rows.texts))
    try:
        return Scored(kept=list(every), verdicts=check(rows.texts), dead=[])
    except (InputError, InferenceError) as error:
        # Score rows one by one to find the ones at fault.
        answers = [check_one(i) for i in every]
        dead = [each for each in answers if isinstance(each, DeadLetter)]
        if isinstance(error, InferenceError) and len(dead) == len(answers):
            raise
    return Scored(
        kept=[i for i in every if not isinstance(answers[i], DeadLetter)],
        verdicts=[each for each in answers if not isinstance(each, DeadLetter)],
        dead=dead,
    )
