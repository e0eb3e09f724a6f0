"""Texts with known logits, which prove that a session computes what the export proved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hazgate.bundle.manifest import VariantSpec
from hazgate.documents.decode import absent_if_none, decode
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems
from hazgate.engine.session import Session
from hazgate.errors import BundleError, ProviderError

# Allowance for kernels that add in another order, on top of the variant's measured difference.
_SLACK: Mapping[str, float] = {"fp32": 1e-3, "fp16": 5e-2, "bf16": 1e-1, "int8": 5e-2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """One row of ids, and its logits in the PyTorch model that was exported.

    Of a token level, these are the logits of one token after the other, from the token number
    `first` on; other levels have no `first`.
    """

    input_ids: tuple[int, ...]
    logits: tuple[float, ...]
    first: int | None = field(default=None, metadata=absent_if_none())


@dataclass(frozen=True, kw_only=True, slots=True)
class Canaries:
    """The canaries of each level."""

    levels: Mapping[str, tuple[Canary, ...]]

    @classmethod
    def parse(cls, text: bytes, *, source: str) -> "Canaries":
        """Return the canaries of a bundle's file of them.

        Args:
            text: the whole file.
            source: its name, for errors.

        Raises:
            BundleError: it is not such a file.
        """
        problems: list[str] = []
        data = parse_json(text, source=source, error=BundleError)
        canaries = decode(cls, data, problems)
        if canaries is not None:
            problems = [
                f"$.levels.{name}[{i}].logits: must be finite"
                for name, rows in canaries.levels.items()
                for i, row in enumerate(rows)
                if not np.isfinite(row.logits).all()
            ]
        if canaries is None or problems:
            raise BundleError(f"{source} is not a file of canaries:{list_problems(problems)}")
        return canaries


def tolerance_of(variant: VariantSpec) -> float:
    """Return the most that a logit may differ from the canary's: the measured part plus slack."""
    return variant.parity.max_abs_logit_diff + _SLACK[variant.precision]


def deviation(session: Session, canaries: Sequence[Canary], columns: slice) -> float:
    """Return the greatest difference of a logit; each canary is run by itself.

    Args:
        session: the open graph.
        canaries: those of a level.
        columns: the level's, of the graph's logits.

    Raises:
        InferenceError: the session failed, or a logit is not finite.
    """
    differences = []
    for canary in canaries:
        input_ids = np.asarray(canary.input_ids, dtype=np.int64)[None]
        (logits,) = session.run(input_ids, np.ones_like(input_ids))
        own = logits[..., columns]
        if canary.first is not None:
            own = own[canary.first :].reshape(-1)[: len(canary.logits)]
        differences.append(float(np.abs(own - np.asarray(canary.logits)).max()))
    return max(differences)


def check_canaries(
    session: Session,
    canaries: Sequence[Canary],
    *,
    name: str,
    tolerance: float,
    columns: slice,
) -> float:
    """Return the deviation after checking that it is within the tolerance.

    Args:
        session: the open graph.
        canaries: those of a level.
        name: the subject of an error.
        tolerance: the most that a logit may differ.
        columns: as of `deviation`.

    Raises:
        ProviderError: it is not.
        InferenceError: as in `deviation`.
    """
    found = deviation(session, canaries, columns)
    if not found <= tolerance:
        raise ProviderError(
            f"{name}: logits of known texts differ by {found:.2g} from the bundle's, at most "
            f"{tolerance:.2g} is allowed: this is not the model that was proven. Remove "
            "compiled programs, check the driver, and run hazgate doctor"
        )
    return found
