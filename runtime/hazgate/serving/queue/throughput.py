"""Estimates of an engine's speed and of waiting times, from its last runs. Pure: no clock."""

import math

from hazgate.errors import Overloaded

# Weight that older measurements keep when a new one is added: about ten of them count.
_KEPT = 0.9
# Share of a text's time, less its own run, that may be spent waiting. The rest is a reserve for
# errors of the estimate: with a queue as long as the deadlines, all answers come at the last moment
# or just too late.
_WAIT_SHARE = 0.5


class Ratio:
    """Moving average of a ratio, e.g. seconds per token. Not thread-safe.

    It averages numerators and denominators, not ratios: a run of one short text takes mostly the
    run's own overhead, which says little about a token of a full batch.
    """

    def __init__(self) -> None:
        """Start without measurements."""
        self._numerator = 0.0
        self._denominator = 0.0

    @property
    def value(self) -> float:
        """The average; 0 before the first measurement."""
        return self._numerator / self._denominator if self._denominator else 0.0

    def add(self, numerator: float, denominator: float) -> None:
        """Add a measurement."""
        self._numerator = _KEPT * self._numerator + numerator
        self._denominator = _KEPT * self._denominator + denominator

    def halve(self) -> None:
        """Halve the average."""
        self._numerator /= 2


class Throughput:
    """Speed of one engine, and the time at which it is expected to be free. Not thread-safe.

    Times are of the clock that the caller uses.
    """

    def __init__(self) -> None:
        """Start idle, with no measurements."""
        self._seconds_per_token = Ratio()
        self._tokens_per_request = Ratio()
        self._free_s = 0.0
        self._began_s = 0.0
        self._n_running_tokens = 0

    @property
    def n_running_tokens(self) -> int:
        """Tokens of the running batch."""
        return self._n_running_tokens

    @property
    def seconds_per_token(self) -> float:
        """Average time of a token; 0 before the first run."""
        return self._seconds_per_token.value

    def present_seconds_per_token(self, now_s: float, *, batch_tokens: int) -> float:
        """Return the average time of a token, or that of the running batch so far if it is more.

        A small batch takes mostly the run's own overhead, so its time is counted as that of a full
        one.

        Args:
            now_s: the time.
            batch_tokens: tokens of a full batch.
        """
        if not self._n_running_tokens:
            return self.seconds_per_token
        n_tokens = max(self._n_running_tokens, batch_tokens)
        return max(self.seconds_per_token, (now_s - self._began_s) / n_tokens)

    @property
    def tokens_per_request(self) -> float:
        """Average tokens of a request; 0 before the first run."""
        return self._tokens_per_request.value

    def begin(self, now_s: float, n_tokens: int) -> None:
        """Record that a batch begins; without tokens, that everything was dropped as too late.

        If everything was dropped, the expected time per token is halved: a wrong estimate must
        not keep the engine from being measured again.
        """
        self._began_s = now_s
        self._free_s = now_s + n_tokens * self.seconds_per_token
        self._n_running_tokens = n_tokens
        if not n_tokens:
            self._seconds_per_token.halve()

    def made_way(self, seconds: float) -> None:
        """Record that the running batch stood still for so long, while another one ran."""
        self._began_s += seconds
        self._free_s += seconds

    def ran(self, seconds: float, *, n_tokens: int, n_requests: int) -> None:
        """Record a finished run."""
        self._seconds_per_token.add(seconds, n_tokens)
        self._tokens_per_request.add(n_tokens, n_requests)

    def end(self) -> None:
        """Record that the batch has ended and the engine is free."""
        self._free_s = 0.0
        self._n_running_tokens = 0

    def refusal(
        self,
        now_s: float,
        *,
        tokens_ahead: float,
        n_tokens: int,
        timeout_s: float,
        piece_tokens: float = math.inf,
    ) -> Overloaded | None:
        """Return the reason to refuse a request that would hardly be answered in time, or None.

        Args:
            now_s: the time.
            tokens_ahead: tokens that run before it, next to the batch that runs now.
            n_tokens: its own tokens; 0 if they are not known yet.
            timeout_s: seconds from now for which an answer is of use.
            piece_tokens: a running batch of more tokens makes way after so many, each time that
                it has run as many; infinite if it makes way for nothing.
        """
        running_s = max(0.0, self._free_s - now_s)
        ahead_s = self.seconds_per_token * tokens_ahead
        if self._n_running_tokens > piece_tokens:
            # It runs a piece before every batch of what is ahead, and at most to its end.
            ahead_s += min(running_s, ahead_s + self.seconds_per_token * piece_tokens)
        else:
            ahead_s += running_s
        own_s = self.seconds_per_token * n_tokens
        if not ahead_s or ahead_s <= _WAIT_SHARE * (timeout_s - own_s):
            return None
        return Overloaded(
            f"work of about {ahead_s:.3f} s waits before this text, its own takes {own_s:.3f} s, "
            f"and its answer is of use for {timeout_s:.3f} s; retry later or ask another"
        )
