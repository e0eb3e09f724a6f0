"""Several gates as one, whose weights follow what turns out to be right."""

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
    """What several gates together say of one text.

    `unsafe` is the mean of each gate's P(unsafe), weighted by `weights`, and `flagged` whether it
    reached the threshold. `hazards` are weighted likewise and `hazard` is the most probable; both
    are None unless the text was flagged. `verdicts` has what each gate says by itself, in the
    order of the gates.
    """

    flagged: bool
    unsafe: float
    hazard: str | None
    hazards: Mapping[str, float] | None
    weights: tuple[float, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """What is kept between two processes: each expert by what it is, and its total loss."""

    schema_version: int
    experts: tuple[ModelIdentity, ...]
    losses: tuple[float, ...]
    n_outcomes: int


class Experts:
    """An ensemble that learns which of its gates to trust. Thread-safe.

    Weights start equal. Each outcome that `learn` is told costs every gate the squared distance of
    its P(unsafe) from the truth, and weights fall exponentially with the total: see
    `hazgate.judging.hedge` for the rule and its bound, which holds when an outcome is learnt before
    the next text is checked. Outcomes that come late are learnt late; the weights are then those of
    the outcomes known so far.
    """

    def __init__(self, gates: Sequence[Gate], *, threshold: float | None = None) -> None:
        """Joins open gates.

        Args:
            gates: two or more, of the same labels, without a policy: what is joined are scores.
            threshold: the mean P(unsafe) at which a text is flagged; None takes the first gate's.

        Raises:
            BundleError: the gates do not go together; says why.
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
        """Of each gate, in their order; they sum to one."""
        return tuple(weights_of(self._losses).tolist())

    @property
    def n_outcomes(self) -> int:
        """How many outcomes were learnt."""
        return self._n_outcomes

    def check(self, text: str) -> ExpertsVerdict:
        """The verdict on one text; see `check_many`."""
        return self.check_many([text])[0]

    def check_many(self, texts: Sequence[str]) -> list[ExpertsVerdict]:
        """The verdict on each text, in the order given; every gate reads all of them.

        Raises:
            InputError: as in `Gate.check_many`.
            InferenceError: one of the gates failed: the others do not speak for it.
        """
        texts = as_texts(texts)
        by_gate = [gate.check_many(texts, all_levels=True) for gate in self._gates]
        weights = self.weights
        return [self._join(verdicts, weights) for verdicts in zip(*by_gate, strict=True)]

    def learn(self, verdict: ExpertsVerdict, *, unsafe: bool) -> None:
        """Takes in what a text turned out to be.

        Args:
            verdict: what `check` said of it.
            unsafe: whether it was.

        Raises:
            InputError: the verdict is of other gates.
        """
        theirs = tuple(each.model for each in verdict.verdicts)
        if theirs != self._models:
            raise InputError("the verdict is not of these experts; learn from the one they gave")
        predictions = np.array([each.unsafe for each in verdict.verdicts], dtype=np.float64)
        with self._lock:
            # A new array, never the old one changed: readers hold no lock.
            self._losses = self._losses + squared_losses(predictions, unsafe)
            self._n_outcomes += 1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes what was learnt to a file, whole or not at all."""
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
        """Takes up what `save` wrote, in place of what these experts have learnt.

        Raises:
            BundleError: the file cannot be read, was changed, or is of other experts.
        """
        state = _read(Path(path))
        if state.experts != self._models:
            raise BundleError(
                f"{path} is of other experts: {_names(state.experts)}; these are "
                f"{_names(self._models)}. Begin anew, or open the gates that it was saved by."
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
        flagged = unsafe >= self.threshold
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
        raise BundleError(f"experts are two gates or more, got {len(gates)}")
    problems = []
    first = gates[0]
    positive = first.bundle.manifest.cascade.positive_label
    for i, gate in enumerate(gates):
        if gate.policy is not None or gate.shadow is not None:
            problems.append(f"gate {i} has a policy; experts join scores, open it without")
        if gate.level2.labels != first.level2.labels:
            problems.append(f"gate {i} has other hazards than gate 0")
        if gate.bundle.manifest.cascade.positive_label != positive:
            problems.append(f"gate {i} has another positive label than gate 0")
        if gate.model in [each.model for each in gates[:i]]:
            problems.append(f"gate {i} is the same variant of the same bundle as one before it")
    if problems:
        raise BundleError(f"these gates do not go together:{list_problems(problems)}")


def _names(models: Sequence[ModelIdentity]) -> str:
    return ", ".join(f"{m.bundle} {m.variant} {m.digest[:12]} on {m.provider}" for m in models)


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> _State:
    data = parse_json(read_bytes(path, error=BundleError), source=str(path), error=BundleError)
    if not isinstance(data, dict):
        raise BundleError(f"{path} is not a state of experts: it is no table")
    digest = data.pop("sha256", None)
    if digest != _digest(data):
        raise BundleError(f"{path} is not as it was saved: its digest differs. Begin anew.")
    problems: list[str] = []
    state = decode(_State, data, problems)
    if state is not None:
        problems.extend(wrong_version(state.schema_version, SCHEMA_VERSION))
        if len(state.losses) != len(state.experts):
            problems.append("$.losses: expected one of each expert")
        if not all(math.isfinite(loss) and loss >= 0 for loss in state.losses):
            problems.append("$.losses: expected finite numbers, none negative")
        if state.n_outcomes < 0:
            problems.append("$.n_outcomes: must not be negative")
    if state is None or problems:
        raise BundleError(f"{path} is not a state of experts:{list_problems(problems)}")
    return state
