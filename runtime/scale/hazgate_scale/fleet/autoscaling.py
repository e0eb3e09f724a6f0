"""Autoscaling policy: as many replicas as bring each one's tokens to the target. Pure.

This file imports nothing of hazgate: Ray Serve pickles the policy into its controller, which may
run without hazgate's dependencies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

# Metric of each replica: tokens of requests that wait or run, see hazgate_scale.fleet.ray_serve.
TOKENS = "hazgate_tokens"


class ReplicaLoads(Protocol):
    """The part of Ray Serve's AutoscalingContext that the policy reads."""

    @property
    def running_replicas(self) -> Sequence[Any]:
        """Ids of the running replicas."""

    @property
    def target_num_replicas(self) -> int:
        """The number of replicas wanted so far."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """Mean reported metrics over the look-back time, by name and replica."""


@dataclass(frozen=True)
class TokenLoad:
    """A policy for Ray Serve, which adds bounds and delays."""

    target_tokens: float

    def __call__(self, ctx: ReplicaLoads) -> tuple[float, dict[str, Any]]:
        """Return the number of replicas wanted, and no state."""
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
    """Compute how many replicas bring each one's load to the target.

    Args:
        tokens: tokens of each replica that has reported.
        n_silent: running replicas that have not reported yet, because they just started.
        target_tokens: wanted tokens per replica.
        n_current: the number of replicas wanted so far.

    Returns:
        A number, not yet rounded. At least `n_current` while a replica is silent or none runs:
        missing data is no reason to end replicas.
    """
    wanted = sum(tokens) / target_tokens
    return max(wanted, n_current) if n_silent or not tokens else wanted
