"""The tables of `hazgate.text.views`, made from what others publish.

`python -m tests.support.view_tables` writes them. It needs two packages that nothing else here
needs: confusable-homoglyphs (Unicode's confusables.txt, UTS #39) and pyspellchecker (frequencies of
words in films' subtitles).
"""

import gzip
import importlib.resources
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TABLES = Path(__file__).parents[2] / "runtime" / "hazgate" / "text" / "views"

# Shares of the languages; English is what disguises are mostly made of.
_LANGUAGES = {"en": 0.5, "de": 0.1, "es": 0.1, "fr": 0.1, "it": 0.07, "pt": 0.07, "nl": 0.06}
_N_LETTERS = 27
# A bit of information is so many steps of the table's bytes.
_STEPS_PER_BIT = 16
# Alphabets of Latin have their own letters before, like the Turkish ı.
_FIRST = 0x250
# Letters that fonts draw like ASCII's and that UTS #39 leaves at another small capital.
_SMALL_CAPITALS = {"к": "k", "κ": "k", "в": "b", "м": "m", "н": "h", "т": "t", "ʍ": "m"}


def confusables(published: Mapping[str, Iterable[Mapping[str, str]]]) -> dict[str, str]:
    """Return the ASCII letter of each character that is drawn like one.

    Characters that NFKC turns into ASCII are left out: that is another view.
    """
    found: dict[str, str] = {}
    for character, twins in published.items():
        if len(character) != 1 or ord(character) < _FIRST:
            continue
        if unicodedata.normalize("NFKC", character).isascii():
            continue
        if unicodedata.category(character)[0] not in "LNS":
            continue
        letters = [t["c"] for t in twins if len(t["c"]) == 1 and t["c"].isascii()]
        letters = [letter for letter in letters if letter.isalpha()]
        if letters:
            # One class of UTS #39 has I, l and 1; a capital is more likely an I.
            is_capital = unicodedata.category(character) == "Lu"
            found[character] = "I" if letters[0] == "l" and is_capital else letters[0]
    for code in range(0x0250, 0x1D80):
        words = unicodedata.name(chr(code), "").split()
        if words[:-1] == ["LATIN", "LETTER", "SMALL", "CAPITAL"] and len(words[-1]) == 1:
            found[chr(code)] = words[-1].lower()
    # Letters in black circles and squares, and regional indicators.
    for first in (0x1F150, 0x1F170, 0x1F1E6):
        found.update({chr(first + i): chr(ord("A") + i) for i in range(26)})
    return found | _SMALL_CAPITALS


def trigram_costs(words: Mapping[str, Mapping[str, int]]) -> NDArray[np.uint8]:
    """Return the information of a letter after two others, in 1/16 bit, shape [27 ** 3].

    A trigram's index is `first * 729 + second * 27 + third`; 0 is the gap between words, 1 to 26
    are a to z. Letters with marks count as those without.
    """
    counts = np.zeros((_N_LETTERS,) * 3)
    for language, share in _LANGUAGES.items():
        own = np.zeros_like(counts)
        for word, n in words[language].items():
            plain = unicodedata.normalize("NFKD", word.lower())
            letters = [ord(c) - ord("a") + 1 for c in plain if "a" <= c <= "z"]
            if not letters:
                continue
            spelt = [0, 0, *letters, 0]
            for i in range(2, len(spelt)):
                own[spelt[i - 2], spelt[i - 1], spelt[i]] += n
        counts += share * own / own.sum()
    # The first letter of a word does not depend on the last of the word before.
    counts[:, 0, :] = counts[0, 0, :]
    counts += 1e-7
    bits = -np.log2(counts / counts.sum(axis=2, keepdims=True))
    # Nothing is said between two gaps.
    bits[:, 0, 0] = 0
    costs: NDArray[np.uint8] = np.clip(np.round(bits * _STEPS_PER_BIT), 0, 255).astype(np.uint8)
    return costs.reshape(-1)


def _frequencies(language: str) -> dict[str, int]:
    file = importlib.resources.files("spellchecker") / "resources" / f"{language}.json.gz"
    table: dict[str, int] = json.loads(gzip.decompress(file.read_bytes()))
    return table


def main() -> None:
    """Write both tables."""
    file = importlib.resources.files("confusable_homoglyphs") / "confusables.json"
    sources = defaultdict(list)
    for character, letter in confusables(json.loads(file.read_text("utf-8"))).items():
        sources[letter].append(character)
    lines = [f"{letter}\t{''.join(sorted(sources[letter]))}\n" for letter in sorted(sources)]
    (TABLES / "confusables.tsv").write_text("".join(lines), encoding="utf-8")
    costs = trigram_costs({language: _frequencies(language) for language in _LANGUAGES})
    (TABLES / "trigrams.bin").write_bytes(costs.tobytes())


if __name__ == "__main__":
    main()
