"""The connection to close where too many are open. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

C = TypeVar("C")
# "sending" is also a client in its TLS handshake.
ConnectionState = Literal["idle", "sending", "answering"]

# Closed together, so that a flood pays for one look at all connections now and then.
_SHARE_CLOSED = 1 / 32


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenConnection(Generic[C]):
    """A connection and its state since a time: idle, sending a request, or waiting for an answer.

    A WebSocket is always `answering`.
    """

    connection: C
    address: str
    state: ConnectionState
    since_s: float


def to_close(
    connections: Iterable[OpenConnection[C]], newcomer: str, most: int
) -> list[OpenConnection[C]]:
    """Return the connections to close for a newcomer; none if it must be refused.

    They belong to the address with most connections: those that have been idle longest, then
    those that have been sending longest. A newcomer of that same address closes idle ones only.

    Args:
        connections: all that are open, the newcomer's left out.
        newcomer: its address.
        most: the limit.
    """
    listed = list(connections)
    if not listed:
        return []
    counts = Counter(each.address for each in listed)
    counts[newcomer] += 1
    largest = max(counts, key=lambda address: (counts[address], address == newcomer))
    closable = ("idle",) if largest == newcomer else ("idle", "sending")
    waiting = [each for each in listed if each.address == largest and each.state in closable]
    waiting.sort(key=lambda each: (each.state, each.since_s))
    return waiting[: max(1, int(most * _SHARE_CLOSED))]
