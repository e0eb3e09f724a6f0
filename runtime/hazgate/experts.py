"""Several gates as one, whose weights follow the outcomes."""

import hashlib
import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hazgate.documents.decode import decode, encode
from hazgate.documents.files import read_bytes, write_atomically
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems, wrong_version
from hazgate.errors import BundleError, InputError
from hazgate.gate import Gate
from hazgate.judging.hedge import squared_losses, weights_of
from hazgate.judging.verdict import ModelIdentity, Verdict
from hazgate.text.tokenization import as_texts

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertsVerdict:
    """The joint verdict of several gates on one text.

    `unsafe` is the mean of the gates' P(unsafe), weighted by `weights`; `flagged` is True if it
    reached the threshold. `hazards` are weighted likewise and `hazard` is the most probable; both
    are None unless the text was flagged. `verdicts` has each gate's own verdict, in the order of
    the gates.
    """

    flagged: bool
    unsafe: float
    hazard: str | None
    hazards: Mapping[str, float] | None
    weights: tuple[float, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """The saved state: each expert's model, and its total loss."""

    schema_version: int
    experts: tuple[ModelIdentity, ...]
    losses: tuple[float, ...]
    n_outcomes: int


class Experts:
    """An ensemble that learns which of its gates to trust. Thread-safe.

    Weights start equal. Each outcome given to `learn` costs every gate the squared distance of its
    P(unsafe) from the truth, and weights fall exponentially with the total. See
    `hazgate.judging.hedge` for the rule and its bound, which holds if an outcome is learnt before
    the next text is checked. Until a late outcome comes, the weights reflect only the outcomes
    known so far.
    """

    def __init__(self, gates: Sequence[Gate], *, threshold: float | None = None) -> None:
        """Join open gates.

        Args:
            gates: two or more with the same labels, without a policy: only scores are joined.
            threshold: the mean P(unsafe) at which a text is flagged; None takes the first gate's.

        Raises:
            BundleError: the gates cannot be joined; says why.
        """
        self._gates = tuple(gates)
        _check_gates(self._gates)
        self.threshold = self._gates[0].threshold if threshold is None else threshold
        if not 0 < self.threshold < 1:
            raise BundleError(f"threshold must be between 0 and 1, got {self.threshold}")
        self._lock = threading.Lock()
        self._losses: NDArray[np.float64] = np.zeros(len(self._gates))
        self._n_outcomes = 0

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each gate, in their order; they sum to one."""
        return tuple(weights_of(self._losses).tolist())

    @property
    def n_outcomes(self) -> int:
        """Number of outcomes learnt."""
        return self._n_outcomes

    def check(self, text: str) -> ExpertsVerdict:
        """Return the verdict on one text; see `check_many`."""
        return self.check_many([text])[0]

    def check_many(self, texts: Sequence[str]) -> list[ExpertsVerdict]:
        """Return the verdict on each text, in the order given; every gate reads all of them.

        Raises:
            InputError: as in `Gate.check_many`.
            InferenceError: one of the gates failed; the others do not answer for it.
        """
        texts = as_texts(texts)
        by_gate = [gate.check_many(texts, all_levels=True) for gate in self._gates]
        weights = self.weights
        return [self._join(verdicts, weights) for verdicts in zip(*by_gate, strict=True)]

    def learn(self, verdict: ExpertsVerdict, *, unsafe: bool) -> None:
        """Learn from a text whose truth is known.

        Args:
            verdict: the verdict that `check` gave.
            unsafe: True if the text was unsafe.

        Raises:
            InputError: the verdict is from other gates.
        """
        theirs = tuple(each.model for each in verdict.verdicts)
        if theirs != self._models:
            raise InputError("the verdict is from other experts; learn from one that these gave")
        predictions = np.array([each.unsafe for each in verdict.verdicts], dtype=np.float64)
        with self._lock:
            # A new array each time, because readers hold no lock.
            self._losses = self._losses + squared_losses(predictions, unsafe)
            self._n_outcomes += 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write what was learnt to a file, whole or not at all."""
        with self._lock:
            state = _State(
                schema_version=SCHEMA_VERSION,
                experts=self._models,
                losses=tuple(self._losses.tolist()),
                n_outcomes=self._n_outcomes,
            )
        body = encode(state)
        text = json.dumps({**body, "sha256": _digest(body)}, indent=2) + "\n"
        write_atomically(Path(path), text.encode())

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Replace what these experts have learnt by a file from `save`.

        Raises:
            BundleError: the file cannot be read, was changed, or is from other experts.
        """
        state = _read(Path(path))
        if state.experts != self._models:
            raise BundleError(
                f"{path} is from other experts: {_names(state.experts)}; these are "
                f"{_names(self._models)}. Start without it, or open the gates that saved it."
            )
        with self._lock:
            self._losses = np.array(state.losses, dtype=np.float64)
            self._n_outcomes = state.n_outcomes

    @property
    def _models(self) -> tuple[ModelIdentity, ...]:
        return tuple(gate.model for gate in self._gates)

    def _join(self, verdicts: tuple[Verdict, ...], weights: tuple[float, ...]) -> ExpertsVerdict:
        unsafe = sum(w * each.unsafe for w, each in zip(weights, verdicts, strict=True))
        # Weights sum to one only as closely as floats do.
        unsafe = min(unsafe, 1.0)
        # A text that none of them understood has no score.
        unread = not any(each.understood for each in verdicts)
        flagged = unread or unsafe >= self.threshold
        hazards = _mean_hazards(verdicts, weights) if flagged else None
        return ExpertsVerdict(
            flagged=flagged,
            unsafe=unsafe,
            hazard=max(hazards, key=hazards.__getitem__) if hazards else None,
            hazards=hazards,
            weights=weights,
            verdicts=verdicts,
        )


def _mean_hazards(verdicts: Sequence[Verdict], weights: Sequence[float]) -> dict[str, float]:
    tables = [verdict.hazards or {} for verdict in verdicts]
    return {
        name: min(1.0, sum(w * table[name] for w, table in zip(weights, tables, strict=True)))
        for name in tables[0]
    }


def _check_gates(gates: Sequence[Gate]) -> None:
    if len(gates) < 2:
        raise BundleError(f"expected two or more gates, got {len(gates)}")
    problems = []
    first = gates[0]
    for i, gate in enumerate(gates):
        if gate.policy is not None or gate.shadow is not None:
            problems.append(f"gate {i} has a policy; experts join scores, so open it without one")
        if gate.hazards != first.hazards:
            problems.append(f"gate {i} has other hazards than gate 0")
        if gate.unsafe_label != first.unsafe_label:
            problems.append(f"gate {i} has another positive label than gate 0")
        if gate.model in [each.model for each in gates[:i]]:
            problems.append(f"gate {i} is the same variant of the same bundle as one before it")
    if problems:
        raise BundleError(f"these gates cannot be joined:{list_problems(problems)}")


def _names(models: Sequence[ModelIdentity]) -> str:
    return ", ".join(f"{m.bundle} {m.variant} {m.digest[:12]} on {m.provider}" for m in models)


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> _State:
    data = parse_json(read_bytes(path, error=BundleError), source=str(path), error=BundleError)
    if not isinstance(data, dict):
        raise BundleError(f"{path} is not a state of experts: expected a JSON object")
    digest = data.pop("sha256", None)
    if digest != _digest(data):
        raise BundleError(
            f"{path} was changed after it was saved: its digest differs. Start without it."
        )
    problems: list[str] = []
    state = decode(_State, data, problems)
    if state is not None:
        problems.extend(wrong_version(state.schema_version, SCHEMA_VERSION))
        if len(state.losses) != len(state.experts):
            problems.append("$.losses: expected one per expert")
        if not all(math.isfinite(loss) and loss >= 0 for loss in state.losses):
            problems.append("$.losses: expected finite numbers, none negative")
        if state.n_outcomes < 0:
            problems.append("$.n_outcomes: must not be negative")
    if state is None or problems:
        raise BundleError(f"{path} is not a state of experts:{list_problems(problems)}")
    return state
