"""What to expect of an engine, by what it did last. Pure: no clock of its own."""

# Of what came before, each new piece leaves so much: some ten of them decide.
_KEPT = 0.9


class Ratio:
    """A moving mean of so much per so many. Not thread-safe.

    Of sums, not of ratios: the seconds that a run of one short text takes are mostly the run's own,
    and say little of what each token of a full batch takes.
    """

    def __init__(self) -> None:
        """Nothing is known yet, and nothing expected."""
        self._much = 0.0
        self._many = 0.0

    @property
    def value(self) -> float:
        """The mean; 0 before anything was added."""
        return self._much / self._many if self._many else 0.0

    def add(self, much: float, many: float) -> None:
        """Takes another piece in."""
        self._much = _KEPT * self._much + much
        self._many = _KEPT * self._many + many

    def halve(self) -> None:
        """Expects half as much from now on."""
        self._much /= 2
