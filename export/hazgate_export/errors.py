"""The errors of the exporter, divided by what the caller should do.

ExportError
├── RecipeError      mend the recipe
├── SourceError      the base or an adapter cannot be had, or is not one that may be merged
├── UnsupportedArchitecture  take the portable graph: no CPU graph is known for this model
├── DataError        mend the labelled data
└── ParityMissed       the export works but answers differently: do not ship it
"""

from collections.abc import Sequence

from hazgate_export.parity import Parity


class ExportError(Exception):
    """Whatever the exporter refuses or fails to do."""


class RecipeError(ExportError):
    """The recipe does not say what a recipe must say."""


class SourceError(ExportError):
    """A base or an adapter cannot be had, or must not be used as the recipe asks."""


class UnsupportedArchitecture(ExportError):  # noqa: N818 - reads as the finding that it names
    """A configuration asks for what no authored graph computes; names every such field."""

    def __init__(self, model_type: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"no CPU graph of ours is this {model_type}:\n"
            + "\n".join(f"  - {problem}" for problem in problems)
        )


class DataError(ExportError):
    """Labelled data are malformed, or do not fit the recipe."""


class ParityMissed(ExportError):  # noqa: N818 - reads as the event that it names
    """A variant lies further from the reference than the recipe allows.

    `parities` is what was measured until then, for the report.
    """

    def __init__(self, message: str, parities: tuple[Parity, ...] = ()) -> None:
        super().__init__(message)
        self.parities = parities
