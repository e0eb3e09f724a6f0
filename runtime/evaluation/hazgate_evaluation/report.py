"""The whole of an evaluation as data: what `report.json` holds and the page is made from."""

from collections.abc import Mapping
from dataclasses import dataclass

from hazgate_evaluation.comparison import SystemComparison
from hazgate_evaluation.estimates import Estimate
from hazgate_evaluation.label_errors import SuspectedLabel
from hazgate_evaluation.level1 import Level1Figures
from hazgate_evaluation.level2 import Level2Figures
from hazgate_evaluation.regret import RegretFigures
from hazgate_evaluation.robustness import Robustness
from hazgate_evaluation.rows import Dataset
from hazgate_evaluation.slices import Slice
from hazgate_evaluation.streams import Streams
from hazgate_evaluation.translations import Translations
from hazgate_evaluation.truth import Truth

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFacts:
    """Which rows were judged by.

    `n_rows` were read of the `n_rows_in_file`; `n_level1` of them count for Level 1, of which
    `n_unsafe` are unsafe; of `n_hazard` the hazard is known.
    """

    name: str
    sha256: str
    n_rows_in_file: int
    n_rows: int
    n_groups: int
    n_level1: int
    n_unsafe: int
    n_hazard: int

    @classmethod
    def of(cls, dataset: Dataset, truth: Truth) -> "DataFacts":
        """The facts of a data set and its labels as arrays."""
        return cls(
            name=dataset.name,
            sha256=dataset.sha256,
            n_rows_in_file=dataset.n_rows_in_file,
            n_rows=len(dataset.rows),
            n_groups=int(truth.group.max()) + 1,
            n_level1=int(truth.known.sum()),
            n_unsafe=int((truth.known & truth.unsafe).sum()),
            n_hazard=int(truth.has_hazard.sum()),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluatedSystem:
    """One variant of one bundle: what it is, and how good.

    `cascade` is the share of right verdicts, see hazgate_evaluation.cascade. `seconds` is how
    long all rows took, Level 2 read where the gate opened or the hazard is known, with `n_workers`
    runs at a time.
    """

    bundle: str
    digest: str
    variant: str
    provider: str
    threshold: float
    n_workers: int
    seconds: float
    level1: Level1Figures
    level2: Level2Figures | None
    cascade: Estimate | None
    slices: tuple[Slice, ...]

    @property
    def title(self) -> str:
        """How a legend calls it."""
        return f"{self.bundle} {self.variant}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelErrors:
    """Labels that the first system suspects, the most certain first."""

    level1: tuple[SuspectedLabel, ...]
    level2: tuple[SuspectedLabel, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that an evaluation found.

    `comparisons` hold the first system against each other one; `experts` has all of them as one
    ensemble, None of a single system; `label_errors`, `robustness`, `translations` and `streams`
    are of the first system. Rows are named by their line in the data file. `texts` has the texts
    of the rows that the report names, by line, and only if that was asked for.
    """

    schema_version: int
    hazgate_version: str
    created: str
    command: str
    data: DataFacts
    systems: tuple[EvaluatedSystem, ...]
    comparisons: tuple[SystemComparison, ...]
    experts: RegretFigures | None
    label_errors: LabelErrors
    robustness: Robustness | None
    translations: Translations | None
    streams: Streams | None
    texts: Mapping[str, str] | None
