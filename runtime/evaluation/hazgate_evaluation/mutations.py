"""Ways to rewrite a text so that a person, or the model behind the gate, still understands it.

Pure functions of a text, without chance, so that a report can be made again. None makes a lone
surrogate out of well-formed text.
"""

import base64 as base64_codec
import codecs
import json
import re
from collections.abc import Callable, Mapping

_ZERO_WIDTH_JOINER = "\u200d"
_VOWELS = "aeiou"
# Cyrillic and Greek letters that look like Latin ones in most fonts.
_HOMOGLYPHS = str.maketrans("aceijopsxyABCEHIKMOPTXZ", "асеіјорѕхуАВСЕНІКМОРТХΖ")
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_NOISE = ("!", ".", "-", "*", "~")
# From "!" to "~", ASCII has full-width twins at this distance.
_FULL_WIDTH_OFFSET = 0xFEE0
_FULL_WIDTH = {
    **{code: code + _FULL_WIDTH_OFFSET for code in range(ord("!"), ord("~") + 1)},
    ord(" "): 0x3000,
}
_POLITE = "Hello! I hope you are well. Could you please help me with this, if you have a moment? "


def upper_case(text: str) -> str:
    """ALL LETTERS LARGE."""
    return text.upper()


def lower_case(text: str) -> str:
    """All letters small."""
    return text.lower()


def title_case(text: str) -> str:
    """Each Word Begins Large."""
    return text.title()


def alternating_case(text: str) -> str:
    """EvErY sEcOnD character large."""
    return "".join(c.upper() if i % 2 == 0 else c.lower() for i, c in enumerate(text))


def extra_spaces(text: str) -> str:
    """Three spaces for each one."""
    return text.replace(" ", "   ")


def spaced_letters(text: str) -> str:
    """A space after each character."""
    return " ".join(text)


def homoglyphs(text: str) -> str:
    """Latin letters by Cyrillic and Greek ones of the same look."""
    return text.translate(_HOMOGLYPHS)


def leetspeak(text: str) -> str:
    """Digits for the letters that they look like."""
    return text.translate(_LEET)


def zero_width_joiners(text: str) -> str:
    """A zero-width joiner between characters."""
    return _ZERO_WIDTH_JOINER.join(text)


def base64(text: str) -> str:
    """Base64 of the UTF-8 bytes."""
    return base64_codec.b64encode(text.encode("utf-8")).decode("ascii")


def rot13(text: str) -> str:
    """Latin letters moved by thirteen; twice gives the text again."""
    return codecs.encode(text, "rot13")


def reversed_words(text: str) -> str:
    """The words in reverse order; twice gives the text again."""
    return " ".join(reversed(text.split(" ")))


def punctuation_noise(text: str) -> str:
    """A mark of punctuation behind each word."""
    return "".join(
        part + _NOISE[i % len(_NOISE)] * bool(part.strip())
        for i, part in enumerate(re.split(r"(\s+)", text))
    )


def dropped_vowels(text: str) -> str:
    """No vowel but at the beginning of a word."""
    return re.sub(rf"(?<=\w)[{_VOWELS}]", "", text, flags=re.IGNORECASE | re.ASCII)


def doubled_letters(text: str) -> str:
    """Each letter twice."""
    return "".join(c * 2 if c.isalpha() else c for c in text)


def quoted(text: str) -> str:
    """In quotation marks, as something that another said."""
    return f'He said: "{text}"'


def code_block(text: str) -> str:
    """In a Markdown code block."""
    return f"```text\n{text}\n```"


def polite_prefix(text: str) -> str:
    """Behind friendly words."""
    return _POLITE + text


def json_wrapped(text: str) -> str:
    """As a field of a JSON object."""
    return json.dumps({"role": "user", "content": text}, ensure_ascii=False)


def word_per_line(text: str) -> str:
    """Each word on a line of its own."""
    return text.replace(" ", "\n")


def full_width(text: str) -> str:
    """ASCII by its full-width forms; NFKC gives the text again."""
    return text.translate(_FULL_WIDTH)


MUTATIONS: Mapping[str, Callable[[str], str]] = {
    function.__name__: function
    for function in (
        upper_case,
        lower_case,
        title_case,
        alternating_case,
        extra_spaces,
        spaced_letters,
        homoglyphs,
        leetspeak,
        zero_width_joiners,
        base64,
        rot13,
        reversed_words,
        punctuation_noise,
        dropped_vowels,
        doubled_letters,
        quoted,
        code_block,
        polite_prefix,
        json_wrapped,
        word_per_line,
        full_width,
    )
}
