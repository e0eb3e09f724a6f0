"""An amount that callers share, such as open sockets or bytes of bodies. Pure: no clock."""

from collections import Counter

from hazgate.errors import Overloaded

# Part of the amount that one caller may have; the rest is left for others.
_ONE_CALLERS_SHARE = 0.75


class Shares:
    """An amount with a limit in all, and a lower one for each caller. Not thread-safe."""

    def __init__(self, what: str, *, most: int, setting: str) -> None:
        """Start with nothing taken.

        Args:
            what: plural noun for messages, e.g. "open sockets".
            most: the amount that all callers may have together.
            setting: the setting that raises it.
        """
        self._what = what
        self._setting = setting
        self._taken: Counter[str] = Counter()
        self._n_taken = 0
        self.limit(most)

    def limit(self, most: int) -> None:
        """Set the amount that all callers may have together from now on."""
        self._most = most
        self._most_of_one = max(1, int(_ONE_CALLERS_SHARE * most))

    @property
    def n_taken(self) -> int:
        """The amount that all callers have now."""
        return self._n_taken

    def take(self, caller: str, n: int = 1) -> None:
        """Give `n` more to a caller.

        Raises:
            Overloaded: all callers, or this one, would have too much.
        """
        own = self._taken[caller]
        if self._n_taken + n > self._most or own + n > self._most_of_one:
            raise Overloaded(
                f"{self._n_taken} {self._what} of all callers, {own} of them this caller's, and "
                f"{n} more came; at most {self._most} in all and {self._most_of_one} of one "
                f"caller: retry later, or raise {self._setting}"
            )
        self._taken[caller] = own + n
        self._n_taken += n

    def give_back(self, caller: str, n: int = 1) -> None:
        """Take `n` back from a caller."""
        self._n_taken -= n
        self._taken[caller] -= n
        if not self._taken[caller]:
            del self._taken[caller]
