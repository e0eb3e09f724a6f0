"""Languages that a bundle does not vouch for: found by script, and by an identifier of languages.

The identifier is `py3langid`, which `hazgate[languages]` brings. Without it only scripts tell
languages apart: Chinese from English, but not German from English.
"""

import functools
import importlib.util
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from hazgate.judging.verdict import UNVOUCHED, Language
from hazgate.text.scripts import letters_by_script, scripts_of, without_letters_of_others
from hazgate.text.tokenization import Tokens

# Chosen so that few texts in a vouched language are marked; benchmarks.quality.languages measures
# how many, and how many others are found.
MIN_LETTERS = 20
# The most that the vouched languages may have together, and the least of another one.
_MAX_VOUCHED = 0.01
_MIN_OTHER = 0.3
# Stretches of a long text that the identifier reads, and characters of each.
_N_STRETCHES, _STRETCH_CHARACTERS = 4, 256
# The identifier's name for text in no language, such as code.
_NO_LANGUAGE = "zxx"
_LOADING = threading.Lock()


class Identifier(Protocol):
    """An identifier of languages: `labels` are the tags that it knows."""

    @property
    def labels(self) -> Sequence[str]:
        """Primary tags of the languages."""
        ...

    def rank(self, text: str) -> Sequence[tuple[str, float]]:
        """Return every language with its probability, the most probable first."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Vouching:
    """The languages that a bundle vouches for. Thread-safe.

    Attributes:
        languages: primary tags of BCP 47.
        scripts: those in which the languages are written.
        shared: those of them in which languages are written that are not vouched for, and that
            the identifier tells apart.
        identifier: None if it is not installed: then a text in a script of one of the languages
            passes for one in that language.
    """

    languages: frozenset[str]
    scripts: frozenset[str]
    shared: frozenset[str]
    identifier: Identifier | None

    @classmethod
    def of(cls, languages: Collection[str], identifier: Identifier | None = None) -> "Vouching":
        """Return the vouching for some languages, by scripts alone without an identifier."""
        scripts = frozenset(script for language in languages for script in scripts_of(language))
        shared = (
            []
            if identifier is None
            else filter(lambda script: _is_shared(script, languages, identifier.labels), scripts)
        )
        return cls(
            languages=frozenset(languages),
            scripts=scripts,
            shared=frozenset(shared),
            identifier=identifier,
        )

    def covers(self, text: str) -> bool:
        """Return False if a text is in none of the languages.

        The majority of its letters decides, and a text without any is covered. A text of fewer
        than MIN_LETTERS is told from others by its script alone, and so is one of several
        languages or in no language, such as code.
        """
        by_script = letters_by_script(text)
        own = {script: n for script, n in by_script.items() if script in self.scripts}
        n_own = sum(own.values())
        if 2 * n_own < sum(by_script.values()):
            return False
        if self.identifier is None or n_own < MIN_LETTERS:
            return True
        if max(own, key=own.__getitem__) not in self.shared:
            return True
        ranked = self.identifier.rank(without_letters_of_others(_sample(text), self.scripts))
        known = self.languages | {_NO_LANGUAGE}
        p_known = sum(p for language, p in ranked if language in known)
        _, p_first = ranked[0]
        return p_known >= _MAX_VOUCHED or p_first < _MIN_OTHER


def load_vouching(languages: Collection[str]) -> Vouching | None:
    """Return the vouching for some languages; None for none, where no text is marked.

    The identifier is loaded, once in a process, if it is installed.
    """
    if not languages:
        return None
    return Vouching.of(languages, _identifier() if is_installed() else None)


def language_of(
    text: str, tokens: Tokens, vouching: Vouching | None, views: Sequence[str]
) -> Language | None:
    """Return the mark of a text in a language that is not vouched for; None for other texts.

    A disguised text is in the language of its views: a text in Cyrillic letters that look like
    Latin ones is no Russian.

    Args:
        text: a text that has passed `check_text`.
        tokens: its tokens, with its views.
        vouching: the languages; None marks no text.
        views: the kinds of disguise that were undone.
    """
    if vouching is None:
        return None
    readings = [text]
    if tokens.views or tokens.views_left_out:
        from hazgate.text.views.views import views_of

        readings = [view.text for view in views_of(text, views).found] or readings
    return None if any(map(vouching.covers, readings)) else UNVOUCHED


def is_installed() -> bool:
    """Return True if the identifier of languages is installed."""
    return importlib.util.find_spec("py3langid") is not None


def finding() -> str:
    """Say how texts in other languages are found on this host."""
    if is_installed():
        return "script and identifier of languages"
    return "script alone; hazgate[languages] tells apart those in one script"


def _identifier() -> Identifier:
    # Levels are opened on threads, and a cache alone would let each load its own.
    with _LOADING:
        return _loaded()


@functools.cache
def _loaded() -> Identifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    loaded: Identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return loaded


def _is_shared(script: str, languages: Collection[str], labels: Collection[str]) -> bool:
    """Return True if some of a script's languages are vouched for and others are not.

    An identifier that lacks one that is vouched for would call its texts others.
    """
    ours = {language for language in languages if script in scripts_of(language)}
    theirs = {language for language in labels if script in scripts_of(language)}
    return ours <= theirs and ours != theirs - {_NO_LANGUAGE}


def _sample(text: str) -> str:
    """Return a text, or of a long one stretches from its beginning to its end."""
    if len(text) <= _N_STRETCHES * _STRETCH_CHARACTERS:
        return text
    last = len(text) - _STRETCH_CHARACTERS
    starts = [last * i // (_N_STRETCHES - 1) for i in range(_N_STRETCHES)]
    return " ".join(text[start : start + _STRETCH_CHARACTERS] for start in starts)
