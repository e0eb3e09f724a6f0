"""The words for who speaks in a text, on which side of a model, and for what is no text."""

from collections.abc import Mapping
from typing import Literal

# `definition` is what a request says about tools and formats; `unknown` is text in a place that no
# API describes.
Role = Literal["system", "user", "assistant", "tool", "definition", "unknown"]
Side = Literal["request", "response"]
# Parts of a body that hold no text, or none that can be read; `unknown_words` is a text that is
# mostly unknown to the tokenizer, `unvouched_language` one in a language that the bundle does not
# vouch for.
UnreadKind = Literal[
    "image",
    "audio",
    "video",
    "file",
    "embeddings",
    "reasoning",
    "unknown_words",
    "unvouched_language",
]
UNKNOWN_WORDS: UnreadKind = "unknown_words"
UNVOUCHED_LANGUAGE: UnreadKind = "unvouched_language"

# The names that APIs give to those who speak, in lower case.
_SPEAKERS: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "chatbot": "assistant",
    "tool": "tool",
    "function": "tool",
}

# The P(unsafe) from which a definition is unsafe if nothing else is said: schemas and descriptions
# of tools are terse orders, which classifiers of prompts take for unsafe more often than prose.
DEFINITION_THRESHOLD = 0.9


def role_named(name: str) -> Role:
    """Return the role that an API's name for a speaker means; "unknown" for any other name."""
    return _SPEAKERS.get(name) or _SPEAKERS.get(name.lower(), "unknown")


def threshold_for(role: Role | None, threshold: float) -> float:
    """Return the threshold of a role's texts where no rule of a policy names the role."""
    return max(threshold, DEFINITION_THRESHOLD) if role == "definition" else threshold
