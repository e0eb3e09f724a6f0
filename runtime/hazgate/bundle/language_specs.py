"""The languages that a bundle vouches for, in its manifest, with the evidence. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hazgate.documents.decode import absent_if_none

# A primary tag of BCP 47: ISO 639, two or three letters.
LANGUAGE_TAG = re.compile("[a-z]{2,3}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RateSpec:
    """A share of `n_rows` labelled texts, with its 95 % interval of Wilson (1927)."""

    share: float
    low: float
    high: float
    n_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageSpec:
    """The evidence that the bundle reads a language; without any, somebody only states it.

    `recall` is the share of unsafe texts that the level of the verdict flagged, and
    `false_positive_rate` that of safe ones, at P(positive label) ≥ `threshold`, on sources that
    took no part in training.
    """

    threshold: float | None = field(default=None, metadata=absent_if_none())
    recall: RateSpec | None = field(default=None, metadata=absent_if_none())
    false_positive_rate: RateSpec | None = field(default=None, metadata=absent_if_none())


def language_problems(languages: Mapping[str, LanguageSpec]) -> Iterator[str]:
    """Yield what is wrong with the languages of a manifest, with its place."""
    if not languages:
        yield "$.languages: must name a language; leave it out if none is vouched for"
    for tag, language in languages.items():
        path = f"$.languages.{tag}"
        if not LANGUAGE_TAG.fullmatch(tag):
            yield f"{path}: expected a primary tag of two or three small letters, such as en"
        if language.threshold is not None and not 0 < language.threshold < 1:
            yield f"{path}.threshold: must be between 0 and 1, got {language.threshold}"
        rates = {"recall": language.recall, "false_positive_rate": language.false_positive_rate}
        if language.threshold is None and any(rates.values()):
            yield f"{path}.threshold: missing, and its shares are at a threshold"
        for name, rate in rates.items():
            if rate is None:
                continue
            if not 0 <= rate.low <= rate.share <= rate.high <= 1:
                yield (
                    f"{path}.{name}: expected 0 ≤ low ≤ share ≤ high ≤ 1, got "
                    f"{rate.low}, {rate.share}, {rate.high}"
                )
            if rate.n_rows < 1:
                yield f"{path}.{name}.n_rows: must be positive, got {rate.n_rows}"


def language_line(tag: str, language: LanguageSpec) -> str:
    """Return a language with its evidence for people, or with "stated" without any."""
    shares = {"recall": language.recall, "false positives": language.false_positive_rate}
    shown = [
        f"{name} {rate.share:.2f} ({rate.low:.2f}–{rate.high:.2f}, {rate.n_rows} rows)"
        for name, rate in shares.items()
        if rate is not None
    ]
    return f"{tag}: {', '.join(shown)} at {language.threshold:g}" if shown else f"{tag}: stated"
