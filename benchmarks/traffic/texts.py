"""Conversations that come again, longer each time: an agent's loop and chats. Pure and seeded."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hazgate.text.conversation import Message

_CALL_WORDS, _RESULT_WORDS = 40, 120
_SYSTEM_WORDS, _QUESTION_WORDS, _ANSWER_WORDS = 400, 25, 90
_WORDS = (
    "the a of to in for with from by on and or after before each new old next last open close "
    "list read write check build test file folder table column row page chapter garden street "
    "river town market station bridge library museum ticket train bus map price order parcel "
    "letter report summary number date week month year morning evening weather rain wind sun "
    "tree flower bird colour blue green yellow small large short long quick careful simple "
    "useful quiet early late meeting agenda minutes budget forecast invoice address customer "
    "supplier branch version change review comment question answer reason example result "
    "measure average total share first second moves shows finds keeps adds sends makes takes "
    "gives needs helps begins ends stays grows runs"
)

# Conversations at each of their steps, oldest first.
Replay = Sequence[Sequence[Message]]


def agent(seed: int, n_steps: int) -> Replay:
    """Return an agent's loop: each step sends all again, with one more call and its result."""
    rng = np.random.default_rng(seed)
    messages = [
        Message(role="system", content=_prose(rng, _SYSTEM_WORDS)),
        Message(role="user", content=_prose(rng, _QUESTION_WORDS)),
    ]
    steps = []
    for _ in range(n_steps):
        messages += pair(rng)
        steps.append(tuple(messages))
    return steps


def pair(rng: np.random.Generator) -> list[Message]:
    """Return a call and its result."""
    return [
        Message(role="assistant", content=_prose(rng, _CALL_WORDS)),
        Message(role="tool", content=_prose(rng, _RESULT_WORDS)),
    ]


def chats(seed: int, n_steps: int) -> Replay:
    """Return chats of up to five turns that begin with one of three system prompts."""
    rng = np.random.default_rng(seed)
    prompts = [Message(role="system", content=_prose(rng, _SYSTEM_WORDS)) for _ in range(3)]
    steps: list[Sequence[Message]] = []
    while len(steps) < n_steps:
        messages = [prompts[rng.integers(len(prompts))]]
        for _ in range(rng.integers(1, 6)):
            messages.append(Message(role="user", content=_prose(rng, _QUESTION_WORDS)))
            steps.append(tuple(messages))
            messages.append(Message(role="assistant", content=_prose(rng, _ANSWER_WORDS)))
    return steps[:n_steps]


REPLAYS: Mapping[str, Callable[[int, int], Replay]] = {"agent": agent, "chats": chats}


def _prose(rng: np.random.Generator, n_words: int) -> str:
    """Return sentences of so many words."""
    words = rng.choice(_WORDS.split(), n_words).tolist()
    for i in range(0, n_words, 12):
        words[i] = words[i].capitalize()
        words[i - 1] += "."
    return " ".join(words)
