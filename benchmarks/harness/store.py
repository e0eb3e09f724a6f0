"""The committed numbers: one JSON document a run, read back strictly."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks.harness.errors import ResultsError
from benchmarks.harness.machine import Machine
from benchmarks.harness.statistics import Percentiles
from hazgate.bundle.bundle import Bundle
from hazgate.documents.decode import decode, encode
from hazgate_export.bundle.assemble import PARITY_FILE, write_json
from hazgate_export.parity import Parity

SCHEMA_VERSION = 1
RESULTS = Path(__file__).parents[1] / "results"
DISTRIBUTIONS = (
    "hazgate",
    "hazgate-export",
    "onnxruntime",
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "numpy",
)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkloadFigures:
    """A workload as it was: `n_texts` answered in each turn, `tokens` of each if that is fixed."""

    name: str
    title: str
    kind: str
    n_texts: int
    tokens: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """How far a system's answers lie from the reference's over the corpus.

    The logit difference is the greatest of both levels. A text's decision is changed if either
    level decides otherwise; no margin is granted.
    """

    max_abs_logit_diff: float
    decisions_changed: int
    n_texts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemFigures:
    """What is measured of a system once; `quality` is None for the reference itself.

    `load_s` is from the start of its process to both levels loaded. Resident sets include
    mapped weight files as far as they were touched.
    """

    name: str
    title: str
    load_s: float
    loaded_rss_bytes: int
    peak_rss_bytes: int
    size_bytes: int
    quality: Quality | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundFigures:
    """One turn: `latency` is None where all texts are one call."""

    round: int
    workload: str
    system: str
    total_s: float
    latency: Percentiles | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Everything that one run of `benchmarks.speed.run` measured."""

    schema_version: int
    name: str
    bundle_digest: str
    date: str
    command: str
    machine: Machine
    threads: int
    seed: int
    reference: str
    baseline: str
    workloads: tuple[WorkloadFigures, ...]
    systems: tuple[SystemFigures, ...]
    rounds: tuple[RoundFigures, ...]
    parity: tuple[Parity, ...]

    @property
    def setting(self) -> str:
        """Machine and threads in one line, for a table's head or a plot's title."""
        return f"{self.machine.summary}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterCount:
    """A level's parameters as PEFT counts them: in all, and those that training would move."""

    total: int
    trainable: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the rehearsal's build may take."""

    peak_rss_bytes: int
    build_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildStep:
    """A line of progress that the exporter printed, and when, in seconds from its start."""

    at_s: float
    line: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """Everything that one run of `benchmarks.rehearse` measured.

    `standin_s` is None if the stand-in was there already. `bundle_bytes` is the whole bundle's;
    `open_s` the time to open it and load both levels, `answer_s` that of the first verdict.
    """

    schema_version: int
    name: str
    bundle_digest: str
    date: str
    command: str
    machine: Machine
    limits: Limits
    peak_rss_bytes: int
    standin_s: float | None
    build_s: float
    open_s: float
    answer_s: float
    bundle_bytes: int
    parameters: Mapping[str, ParameterCount]
    steps: tuple[BuildStep, ...]
    parity: tuple[Parity, ...]


def save(results: object, file: Path) -> None:
    """Writes `results` as JSON, making the folder if need be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, encode(results))


def load(kind: type[T], file: Path) -> T:
    """The results in `file`.

    Raises:
        ResultsError: it is missing, is not JSON, or any number of fields are wrong, all named.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ResultsError(
            f"{file} is missing; `make bench` or `make rehearse` writes it"
        ) from error
    except ValueError as error:
        raise ResultsError(f"{file} is not a JSON document: {error}") from error
    problems: list[str] = []
    results = decode(kind, data, problems)
    if results is not None and data["schema_version"] != SCHEMA_VERSION:
        problems.append(f"$.schema_version: expected {SCHEMA_VERSION}")
    if results is None or problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise ResultsError(f"{file} is not of kind {kind.__name__}:\n{listed}")
    return results


def parity_of(bundle: Bundle) -> tuple[Parity, ...]:
    """The parity figures that a bundle brings along."""
    document = json.loads(bundle.file(PARITY_FILE).read_text(encoding="utf-8"))
    problems: list[str] = []
    found = [decode(Parity, item, problems) for item in document["results"]]
    if problems:
        raise ResultsError(f"{PARITY_FILE}: {'; '.join(problems)}")
    return tuple(parity for parity in found if parity is not None)
