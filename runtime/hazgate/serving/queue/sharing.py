"""Work and verdicts that equal texts share. Pure: no thread, no clock, no lock of its own."""

import hashlib
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hazgate.judge import Answer, Judge
from hazgate.judging.speech import Role, Side
from hazgate.questions import Question
from hazgate.serving.queue.ask import Ask

Key = tuple[str | None, bytes, bool, bool, tuple[str, ...], str | None, Role | None, Side]


def key_of(ask: Ask, i: int, *, shared: bool, may_leave: bool = False) -> Key:
    """Return what an answer depends on besides the gate: the text's SHA-256 and the options.

    Args:
        ask: the request.
        i: the index of its text.
        shared: callers share answers; else the time of one tells nobody what another asked.
        may_leave: the text may leave early now; where nothing leaves any more, no such answer
            is kept.
    """
    caller = None if shared else ask.caller
    # The gate refuses a text that is not well-formed; until then it needs a key like any other.
    hashed = hashlib.sha256(ask.texts[i].encode("utf-8", "surrogatepass"))
    tokens = ask.tokens_of(i)
    if tokens is not None:
        # In its text, a part may have other tokens than alone.
        hashed.update(repr([window.input_ids for window in tokens.every_window]).encode())
    levels = tuple(sorted(set(ask.levels)))
    options = (ask.all_levels, may_leave, levels, ask.tenant, ask.role(i), ask.side)
    return (caller, hashed.digest(), *options)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueuedText:
    """One text in the queue, and the futures of all who wait for its verdict.

    `ask` is the request that brought it; times are of the clock of `time.monotonic`.
    """

    gate: Judge
    question: Question
    key: Key
    ask: Ask
    n_tokens: int
    added_s: float
    waiters: list[Future[Answer]] = field(default_factory=list)

    @property
    def caller(self) -> str:
        """The caller in whose turn it runs."""
        return self.ask.caller

    @property
    def deadline_s(self) -> float:
        """The time after which its verdict is of no use."""
        return self.ask.deadline_s


class SharedAnswers:
    """The verdicts kept and the texts queued, by what they answer. Not thread-safe."""

    def __init__(self, cache_entries: int) -> None:
        """Start empty; keep at most `cache_entries` verdicts, the most recently used ones."""
        self._cache_entries = cache_entries
        self._cache: OrderedDict[Key, Answer] = OrderedDict()
        # The newest queued text of each key, and the text that each future waits for.
        self._queued: dict[Key, QueuedText] = {}
        self._text_of: dict[Future[Answer], QueuedText] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._cache or key in self._queued

    def clear_cache(self) -> None:
        """Drop the verdicts kept; those of another gate would be wrong."""
        self._cache.clear()

    def cached(self, key: Key) -> Answer | None:
        """Return a verdict that was kept, or None."""
        if key in self._cache:
            self._cache.move_to_end(key)
        return self._cache.get(key)

    def keep(self, key: Key, verdict: Answer) -> None:
        """Keep a verdict, and drop the least recently used ones above the limit."""
        if not self._cache_entries:
            return
        self._cache[key] = verdict
        while len(self._cache) > self._cache_entries:
            self._cache.popitem(last=False)

    def join(self, text: QueuedText) -> bool:
        """Let the waiters of `text` wait for an equal text in the queue, if there is one.

        A text with a later deadline than the one in the queue does not join it: the earlier one
        may be dropped, and those who can wait longer would lose their answer.
        """
        equal = self._queued.get(text.key)
        if equal is None or equal.gate is not text.gate or equal.deadline_s < text.deadline_s:
            return False
        equal.waiters.extend(text.waiters)
        self._text_of.update(dict.fromkeys(text.waiters, equal))
        return True

    def add(self, text: QueuedText) -> None:
        """Remember a text that joins the queue."""
        self._queued[text.key] = text
        self._text_of.update(dict.fromkeys(text.waiters, text))

    def leave(self, future: Future[Any]) -> QueuedText | None:
        """Stop waiting; return the text if nobody waits for it any more."""
        text = self._text_of.pop(future, None)
        if text is None:
            return None
        text.waiters.remove(future)
        return None if text.waiters else text

    def forget(self, text: QueuedText) -> list[Future[Answer]]:
        """Drop a text that has left the queue and return who still waits for it."""
        if self._queued.get(text.key) is text:
            del self._queued[text.key]
        waiters = list(text.waiters)
        for future in waiters:
            self._text_of.pop(future, None)
        return waiters
