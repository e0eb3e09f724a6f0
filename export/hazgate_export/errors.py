"""Errors of the exporter, divided by the caller's next step.

ExportError
├── RecipeError      mend the recipe
├── SourceError      the base or an adapter is not available, or must not be merged
├── UnsupportedArchitecture  take the portable graph: no CPU graph is known for this model
├── DataError        mend the labelled data
├── ParityMissed       the export works but answers differently: do not ship it
└── ExitsUnproven      texts would leave early that must not: take other exits, or more texts
"""

from collections.abc import Sequence

from hazgate_export.parity import Parity


class ExportError(Exception):
    """An export that was refused or that failed."""


class RecipeError(ExportError):
    """The recipe is malformed or contradicts itself."""


class SourceError(ExportError):
    """A base or an adapter is not available, or must not be used as the recipe asks."""


class UnsupportedArchitecture(ExportError):  # noqa: N818 - reads as the finding that it names
    """A configuration that no authored graph computes; names every field at fault."""

    def __init__(self, model_type: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"no authored CPU graph computes this {model_type}:\n"
            + "\n".join(f"  - {problem}" for problem in problems)
        )


class DataError(ExportError):
    """Labelled data are malformed, or do not fit the recipe."""


class ParityMissed(ExportError):  # noqa: N818 - reads as the event that it names
    """A variant lies further from the reference than the recipe allows.

    `parities` holds the measurements until then, for the report.
    """

    def __init__(self, message: str, parities: tuple[Parity, ...] = ()) -> None:
        super().__init__(message)
        self.parities = parities


class ExitsUnproven(ExportError):  # noqa: N818 - reads as the finding that it names
    """The claim of early exits is not proven: by too few texts, or because it does not hold."""
