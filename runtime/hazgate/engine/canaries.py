"""Texts whose logits are known: whether what was opened here computes what was proven there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hazgate.bundle.manifest import VariantSpec
from hazgate.documents.decode import decode
from hazgate.documents.files import read_bytes
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems
from hazgate.engine.session import Session
from hazgate.errors import BundleError, ProviderError

# What other kernels' order of additions may move, on top of what the variant was measured to move.
_SLACK: Mapping[str, float] = {"fp32": 1e-3, "fp16": 5e-2, "bf16": 1e-1, "int8": 5e-2}


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """One row of ids, and the logits of the PyTorch model that the bundle was made of."""

    input_ids: tuple[int, ...]
    logits: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Canaries:
    """The canaries of each level."""

    levels: Mapping[str, tuple[Canary, ...]]

    @classmethod
    def load(cls, file: Path) -> "Canaries":
        """Those in a bundle's file.

        Raises:
            BundleError: it is not such a file.
        """
        problems: list[str] = []
        data = parse_json(read_bytes(file, error=BundleError), source=file.name, error=BundleError)
        canaries = decode(cls, data, problems)
        if canaries is None:
            raise BundleError(f"{file.name} is not a file of canaries:{list_problems(problems)}")
        return canaries


def tolerance_of(variant: VariantSpec) -> float:
    """How far a logit may lie from the canary's: what was measured, and some for other kernels."""
    return variant.parity.max_abs_logit_diff + _SLACK[variant.precision]


def deviation(session: Session, canaries: Sequence[Canary]) -> float:
    """The greatest difference of a logit, each canary run by itself.

    Raises:
        InferenceError: the session failed, or gave what is not finite.
    """
    differences = []
    for canary in canaries:
        input_ids = np.asarray(canary.input_ids, dtype=np.int64)[None]
        (logits,) = session.run(input_ids, np.ones_like(input_ids))
        differences.append(float(np.abs(logits - np.asarray(canary.logits)).max()))
    return max(differences)


def check_canaries(
    session: Session, canaries: Sequence[Canary], *, name: str, tolerance: float
) -> float:
    """The deviation, which is within the tolerance.

    Raises:
        ProviderError: it is not.
        InferenceError: as in `deviation`.
    """
    found = deviation(session, canaries)
    if not found <= tolerance:
        raise ProviderError(
            f"{name}: logits of known texts differ by {found:.2g} from those of the bundle, at "
            f"most {tolerance:.2g} are allowed: this is not the model that was proven. Remove "
            "compiled programs, check the driver, and run hazgate doctor"
        )
    return found
