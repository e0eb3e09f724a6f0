"""The value that a request is, from the server's edge to the engine's queue."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from hazgate.judging.speech import Role, Side
from hazgate.text.tokenization import Tokens, as_texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """The texts of one request, and how they are to be answered.

    Attributes:
        texts: the texts, as `Gate.check_many` takes them.
        all_levels: as in `Gate.check_many`.
        levels: as in `Gate.check_many`.
        tenant: as in `Gate.check_many`.
        roles: who speaks in each text; empty if nobody knows.
        side: as in `Gate.check_many`.
        tokens: of texts that are windows of a growing text; empty, or None, for others.
        whole: as in `Gate.ask`.
        caller: the name under which the request queues; callers take turns.
        timeout_s: seconds after arrival for which an answer is of use. The queue refuses a request
            at once if too much waits before it, and drops one that has waited too long.
        arrived_s: the time of arrival, on the clock of `time.monotonic`.
    """

    texts: Sequence[str]
    all_levels: bool = False
    levels: tuple[str, ...] = ()
    tenant: str | None = None
    roles: Sequence[Role | None] = ()
    side: Side = "request"
    tokens: Sequence[Tokens | None] = ()
    whole: bool = False
    caller: str = ""
    timeout_s: float = math.inf
    arrived_s: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Read the texts once.

        Raises:
            InputError: `texts` is one string instead of a sequence.
        """
        object.__setattr__(self, "texts", tuple(as_texts(self.texts)))

    def role(self, i: int) -> Role | None:
        """Return who speaks in the text of that index, or None."""
        return self.roles[i] if self.roles else None

    def tokens_of(self, i: int) -> Tokens | None:
        """Return the tokens of the text of that index, or None if it is to be tokenised."""
        return self.tokens[i] if self.tokens else None

    @property
    def deadline_s(self) -> float:
        """The time after which an answer is of no use, on the clock of `time.monotonic`."""
        return self.arrived_s + self.timeout_s

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None if there is no deadline."""
        if math.isinf(self.timeout_s):
            return None
        return max(0.0, self.deadline_s - time.monotonic())
