"""Room for a newcomer where too many connections are open: others give way, or it is refused."""

from collections.abc import Iterable
from typing import Any

from hazgate.serving.http.connections import OpenConnection, to_close

# Refused connections that may wait for their answer; more are cut off.
MAX_REFUSED = 128
# Where nothing could be closed, nothing else is looked for within this time.
_LOOK_AGAIN_S = 0.1


def make_room(newcomer: Any, connections: Iterable[Any], *, most: int, state: Any) -> bool:  # noqa: ANN401 - protocols and the state of uvicorn
    """Let others give way to a newcomer; return False if it must be refused.

    Args:
        newcomer: a protocol with `client`, and `loop`.
        connections: every open one.
        most: the limit.
        state: uvicorn's state of one server, which keeps the time of the last look.
    """
    now_s, own = newcomer.loop.time(), _address(newcomer)
    full = _full_until_s(state)
    if now_s < full.get(own, 0.0):
        return False
    others = [each for each in connections if each is not newcomer]
    chosen = to_close(map(_as_open, others), own, most)
    if not chosen:
        if len(full) >= MAX_REFUSED:
            full.clear()
        full[own] = now_s + _LOOK_AGAIN_S
    for each in chosen:
        each.connection.give_way(most)
    return bool(chosen)


def refusal(most: int) -> tuple[bytes, str]:
    """Return the status line's end with its headers, and the sentence, of a refused connection."""
    return (
        b"503 Service Unavailable\r\nretry-after: 1",
        f"{most} connections are open and one more came; at most {most} may be: retry later, or "
        "raise max_connections",
    )


def _full_until_s(state: Any) -> dict[str, float]:  # noqa: ANN401 - uvicorn's state of one server
    """Return the times, by address of newcomers, until which nothing can be closed for them."""
    if not hasattr(state, "hazgate_full_until_s"):
        state.hazgate_full_until_s = {}
    found: dict[str, float] = state.hazgate_full_until_s
    return found


def _address(connection: Any) -> str:  # noqa: ANN401 - a protocol of uvicorn
    client = getattr(connection, "client", None)
    return client[0] if client else ""


def _as_open(connection: Any) -> OpenConnection[Any]:  # noqa: ANN401 - a protocol of uvicorn
    if not hasattr(connection, "give_way"):
        # A WebSocket.
        return OpenConnection(
            connection=connection, address=_address(connection), state="answering", since_s=0.0
        )
    return OpenConnection(
        connection=connection,
        address=_address(connection),
        state=connection.state,
        since_s=connection.since_s,
    )
