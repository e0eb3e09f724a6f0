"""Messages between an attacker and its parent; see `benchmarks.harness.messages`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackerSetup:
    """The first request: the ports of the server, its process, and the model's name."""

    port: int
    grpc_port: int
    pid: int
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackerReady:
    """The reply to the setup."""

    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackRequest:
    """A request after the setup: attack for some seconds.

    Attributes:
        names: of the attacks; acts are made of each in turn.
        seconds: after which everything is closed.
        acts_per_s: acts begun a second; 0 keeps as many going as the one attack says.
    """

    names: tuple[str, ...]
    seconds: float
    acts_per_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attacked:
    """The reply: the acts that were begun, and those that the server refused or cut off."""

    n_acts: int
    n_failed: int
