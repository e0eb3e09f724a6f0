"""Callers that ask all the time, and the outcome of every request."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

_CALLERS = 6
_PAUSE_S = 0.01
# Longer than any proxy between caller and engine waits before it gives up.
TIMEOUT_S = 30.0
_RECOVERY_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of one request: a status or an error's class name, and the answer."""

    text: str
    status: int | str
    answer: Any
    ended_s: float


@dataclass(kw_only=True, slots=True)
class Load:
    """All requests so far, in the order in which they ended."""

    outcomes: list[Outcome] = field(default_factory=list)
    n_asked: int = 0

    def wait_for(self, n_more: int) -> list[Outcome]:
        """Return that many outcomes of requests that end from now on, however slowly they come."""
        start = len(self.outcomes)
        self._wait_until(lambda: len(self.outcomes) >= start + n_more)
        return self.outcomes[start : start + n_more]

    def wait_until_answered(self, n_in_a_row: int) -> None:
        """Wait until that many requests in a row, that end from now on, have an answer.

        A slow machine notices later that a node is gone: what it takes is no number of requests.
        """
        start, until = len(self.outcomes), time.monotonic() + _RECOVERY_S
        last: list[Outcome] = []

        def answered() -> bool:
            last[:] = self.outcomes[start:][-n_in_a_row:]
            return len(last) == n_in_a_row and {each.status for each in last} == {200}

        self._wait_until(lambda: answered() or time.monotonic() > until)
        statuses = [each.status for each in last]
        assert statuses == [200] * n_in_a_row, f"not answered again: {self.statuses()}"

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait; fail once no request ends any more."""
        seen, until = -1, 0.0
        while not holds():
            if len(self.outcomes) > seen:
                seen, until = len(self.outcomes), time.monotonic() + 2 * TIMEOUT_S
            assert time.monotonic() < until, f"no outcome any more: {self.statuses()}"
            time.sleep(0.05)

    def statuses(self) -> Mapping[int | str, int]:
        """Count the requests by status."""
        return Counter(outcome.status for outcome in self.outcomes)


@contextmanager
def asking(url: str, texts: list[str]) -> Iterator[Load]:
    """Ask for verdicts on `texts` in turn; on exit every request has its outcome."""
    load, ending = Load(), threading.Event()

    def ask(first: int) -> None:
        with httpx.Client(timeout=TIMEOUT_S) as client:
            place = first
            while not ending.wait(_PAUSE_S):
                text = texts[place % len(texts)]
                place += 1
                load.n_asked += 1
                load.outcomes.append(_outcome(client, url, text))

    callers = [threading.Thread(target=ask, args=[7 * i]) for i in range(_CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield load
    finally:
        ending.set()
        for caller in callers:
            caller.join(2 * TIMEOUT_S)


def _outcome(client: httpx.Client, url: str, text: str) -> Outcome:
    status: int | str
    answer = None
    try:
        response = client.post(f"{url}/v1/check", json={"text": text})
        status, answer = response.status_code, response.text
        if status == 200:
            (answer,) = response.json()["verdicts"]
    except httpx.TransportError as error:
        status = type(error).__name__
    return Outcome(text=text, status=status, answer=answer, ended_s=time.monotonic())
