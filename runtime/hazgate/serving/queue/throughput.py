"""What to expect of an engine, by what it did last. Pure: no clock of its own."""

from hazgate.errors import Overloaded

# Of what came before, each new piece leaves so much: some ten of them decide.
_KEPT = 0.9
# What waits may take so much of the time that a text's own run leaves it; the rest is for what no
# estimate knows. A queue that is as long as its deadlines answers everything at the last moment or
# just too late.
_WAIT_SHARE = 0.5


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


class Pace:
    """One engine's: how fast it works, and when it is expected to be free. Not thread-safe.

    Times are of the clock that the caller uses.
    """

    def __init__(self) -> None:
        """Of an engine that did nothing yet, and does nothing."""
        self._seconds_per_token = Ratio()
        self._tokens_per_request = Ratio()
        self._free_s = 0.0
        self._n_running_tokens = 0

    @property
    def n_running_tokens(self) -> int:
        """Tokens of the batch that runs now."""
        return self._n_running_tokens

    @property
    def seconds_per_token(self) -> float:
        """What a token takes; 0 before the first run."""
        return self._seconds_per_token.value

    @property
    def tokens_per_request(self) -> float:
        """What a request has; 0 before the first run."""
        return self._tokens_per_request.value

    def begin(self, now_s: float, n_tokens: int) -> None:
        """A batch begins; one without tokens says that all was dropped as too late.

        Expecting too much of an engine must not keep it from showing otherwise.
        """
        self._free_s = now_s + n_tokens * self.seconds_per_token
        self._n_running_tokens = n_tokens
        if not n_tokens:
            self._seconds_per_token.halve()

    def ran(self, seconds: float, *, n_tokens: int, n_requests: int) -> None:
        """So much was run in that time."""
        self._seconds_per_token.add(seconds, n_tokens)
        self._tokens_per_request.add(n_tokens, n_requests)

    def end(self) -> None:
        """The batch has ended; the engine is free."""
        self._free_s = 0.0
        self._n_running_tokens = 0

    def refusal(
        self, now_s: float, *, tokens_ahead: float, n_tokens: int, timeout_s: float
    ) -> Overloaded | None:
        """Why a request would hardly be answered in time; None where nothing is ahead of it.

        Args:
            now_s: the time.
            tokens_ahead: of what runs before it, beside the batch that runs now.
            n_tokens: its own; 0 where they are not known yet.
            timeout_s: how long an answer is of use from now on.
        """
        ahead_s = max(0.0, self._free_s - now_s) + self.seconds_per_token * tokens_ahead
        own_s = self.seconds_per_token * n_tokens
        if not ahead_s or ahead_s <= _WAIT_SHARE * (timeout_s - own_s):
            return None
        return Overloaded(
            f"work of about {ahead_s:.3f} s waits before this text, its own takes {own_s:.3f} s, "
            f"and its answer is of use for {timeout_s:.3f} s; retry later or ask another"
        )
