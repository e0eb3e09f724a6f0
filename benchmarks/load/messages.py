"""What an asker and its parent say to each other; see `benchmarks.harness.messages`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class InProcess:
    """A gate in the asker's own process: `async` through an `AsyncGate`, or under a `lock`."""

    bundle: str
    variant: str
    threads: int
    way: Literal["async", "lock"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OverHttp:
    """A server on the loopback, and how a text is put to it.

    The text is the value of `text_field`, in an array of one with `is_list`, beside `fields`.
    """

    port: int
    path: str
    text_field: str
    is_list: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """The first request: whom to ask, by exactly one of two ways, and about what."""

    texts: tuple[str, ...]
    gate: InProcess | None = None
    http: OverHttp | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """The reply to it."""

    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Every later request.

    "offer" asks at `times`, from the `first` text on; "call" does so as a caller without an event
    loop; "saturate" keeps `n_askers` waiting for `seconds`.
    """

    action: Literal["offer", "call", "saturate"]
    times: tuple[float, ...] = ()
    first: int = 0
    n_askers: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The reply to "offer" and "call".

    `taken_s` is as `offer` returns it; `cpu_s` the processor seconds of the asker's process.
    """

    taken_s: tuple[float | None, ...]
    cpu_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """The reply to "saturate"."""

    answers_per_s: float
