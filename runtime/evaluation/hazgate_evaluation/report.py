"""An evaluation as data: the content of `report.json` and of the page."""

from collections.abc import Mapping
from dataclasses import dataclass

from hazgate_evaluation.comparison import SystemComparison
from hazgate_evaluation.dilution import Dilution
from hazgate_evaluation.estimates import Estimate
from hazgate_evaluation.label_errors import SuspectedLabel
from hazgate_evaluation.label_figures import LabelledLevelFigures
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
    """The rows used for an evaluation.

    `n_rows` of the `n_rows_in_file` were used. `n_level1` of them count for Level 1 and `n_unsafe`
    of those are unsafe. The hazard of `n_hazard` rows is known.
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
        """Collect the facts of a data set and its labels."""
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
    """One variant of one bundle: its identity and its figures.

    `cascade` is the share of right verdicts, see hazgate_evaluation.cascade. `seconds` is the time
    for all rows with `n_workers` runs at a time; Level 2 reads rows that are flagged or whose
    hazard is known. `levels` has the levels beside the cascade whose labels rows carry.
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
    levels: dict[str, LabelledLevelFigures]

    @property
    def title(self) -> str:
        """The name in legends."""
        return f"{self.bundle} {self.variant}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelErrors:
    """Labels that the first system suspects, the most certain ones first."""

    level1: tuple[SuspectedLabel, ...]
    level2: tuple[SuspectedLabel, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All results of an evaluation.

    `comparisons` compares the first system with each other one. `experts` treats all of them as
    one ensemble; None for a single system. `label_errors`, `robustness`, `dilution`, `translations`
    and `streams` are of the first system. Rows are named by their line in the data file. `texts`
    maps lines to the texts of the rows that the report names, if texts were asked for.
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
    dilution: Dilution | None
    translations: Translations | None
    streams: Streams | None
    texts: Mapping[str, str] | None
