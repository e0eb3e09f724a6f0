"""How many replicas serve: as many as bring each one's tokens to the target. Pure.

Ray Serve hands the policy to its controller by value, so this file imports nothing of hazgate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# What each replica reports, see hazgate_scale.fleet.ray_serve: tokens of requests that wait or run.
TOKENS = "hazgate_tokens"


class ReplicaLoads(Protocol):
    """What the policy reads of Ray Serve's AutoscalingContext."""

    @property
    def running_replicas(self) -> Sequence[Any]:
        """Ids of the replicas that serve."""

    @property
    def target_num_replicas(self) -> int:
        """How many replicas are wanted so far."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """Means over the look-back time of what replicas report, by name and replica."""


@dataclass(frozen=True)
class TokenLoad:
    """Autoscaling policy of Ray Serve, which adds bounds and delays to it."""

    target_tokens: float

    def __call__(self, ctx: ReplicaLoads) -> tuple[float, dict[str, Any]]:
        """The number of replicas that is wanted, and no state."""
        reported = (ctx.aggregated_metrics or {}).get(TOKENS, {})
        tokens = [reported[each] for each in ctx.running_replicas if each in reported]
        n_silent = len(ctx.running_replicas) - len(tokens)
        wanted = desired_replicas(
            tokens, n_silent, target_tokens=self.target_tokens, n_current=ctx.target_num_replicas
        )
        return wanted, {}


def desired_replicas(
    tokens: Sequence[float], n_silent: int, *, target_tokens: float, n_current: int
) -> float:
    """How many replicas bring each one's load to the target.

    Args:
        tokens: of each replica that has reported.
        n_silent: running replicas that have not yet: they have just started.
        target_tokens: what each should have.
        n_current: how many replicas are wanted so far.

    Returns:
        A number that is not rounded yet. Not fewer than now while anyone is silent or there is
        nobody: what is not known is no reason to end what serves.
    """
    wanted = sum(tokens) / target_tokens
    return max(wanted, n_current) if n_silent or not tokens else wanted
