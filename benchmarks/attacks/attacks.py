"""The attacks: an act of each, and how many are kept going."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.attacks import acts
from benchmarks.attacks.target import Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """An attack: what it is in a table's words, its act, and how many are going at a time.

    The next act of one that ended begins after `pause_s`.
    """

    name: str
    what: str
    act: Callable[[Target], Awaitable[None]]
    n_at_once: int
    pause_s: float = 0.01


ATTACKS = (
    Attack(name="slow-heads", what="slow heads", act=acts.slow_head, n_at_once=300),
    Attack(name="slow-bodies", what="slow bodies", act=acts.slow_body, n_at_once=300),
    Attack(name="trailers", what="endless trailers", act=acts.endless_trailers, n_at_once=8),
    Attack(name="chunks", what="chunks of one byte", act=acts.tiny_chunks, n_at_once=4),
    Attack(name="nesting", what="deep nesting, 2 MB", act=acts.deep_nesting, n_at_once=4),
    Attack(name="shapes", what="shapes of 600,000 axes", act=acts.giant_shape, n_at_once=4),
    Attack(name="numbers", what="numbers of 5,000 digits", act=acts.long_numbers, n_at_once=4),
    Attack(name="long-texts", what="200 long texts at once", act=acts.long_text, n_at_once=200),
    Attack(name="many-texts", what="5,000 texts a request", act=acts.many_texts, n_at_once=4),
    Attack(
        name="connections",
        what="3,000 idle connections",
        act=acts.idle_connection,
        n_at_once=3000,
        pause_s=0.5,
    ),
    Attack(name="hang-ups", what="clients that hang up", act=acts.hang_up, n_at_once=50),
    Attack(name="pieces", what="WebSockets, tiny pieces", act=acts.tiny_pieces, n_at_once=16),
    Attack(name="events", what="streams of 1.9 MB", act=acts.huge_events, n_at_once=4),
    Attack(name="parts", what="forms of 20,000 parts", act=acts.many_parts, n_at_once=4),
    Attack(name="grpc", what="2,000 gRPC streams", act=acts.idle_stream, n_at_once=20),
    Attack(name="reloads", what="20 reloads a second", act=acts.reload, n_at_once=1, pause_s=0.05),
)
BY_NAME = {attack.name: attack for attack in ATTACKS}
# What a client can do; only an operator can send signals.
CLIENTS_ATTACKS = tuple(attack.name for attack in ATTACKS if attack.name != "reloads")
