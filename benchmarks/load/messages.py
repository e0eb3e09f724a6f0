"""Messages between an asker and its parent; see `benchmarks.harness.messages`."""

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
    """A server on the loopback, and the JSON that asks it about a text.

    The text is the value of `text_field`, in an array of one with `is_list`; `fields` are added.
    """

    port: int
    path: str
    text_field: str
    is_list: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class AskerSetup:
    """The first request: the texts, and exactly one of a gate and a server to ask."""

    texts: tuple[str, ...]
    gate: InProcess | None = None
    http: OverHttp | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AskerReady:
    """The reply to the setup."""

    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class AskerRequest:
    """A request after the setup.

    "offer" asks at `times`, from the text with index `first` on; "call" does so as a caller
    without an event loop; "saturate" keeps `n_askers` waiting for `seconds`.
    """

    action: Literal["offer", "call", "saturate"]
    times: tuple[float, ...] = ()
    first: int = 0
    n_askers: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AskResults:
    """The reply to "offer" and "call".

    `taken_s` is as `offer` returns it, `cpu_s` the processor seconds of the asker's process.
    """

    taken_s: tuple[float | None, ...]
    cpu_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """The reply to "saturate"."""

    answers_per_s: float
