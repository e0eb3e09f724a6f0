"""Kinds of disguise as data: one row per kind, in the order in which they are undone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hazgate.text.views import characters, codes, confusables, spelling, turned
from hazgate.text.views.edits import Edit
from hazgate.text.views.scan import (
    COMPATIBLE,
    EMOJI,
    INVISIBLE,
    MARK,
    TAG,
    TWIN,
    TextScan,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of disguise.

    `may` says from the scan of a text if it may be of the kind. `undo` returns the edits that
    undo it; none where there is nothing to undo, or where the result is no text. A kind is
    `doubtful` if what it undoes may be meant as it is written.
    """

    name: str
    may: Callable[[TextScan], bool]
    undo: Callable[[str], Sequence[Edit]]
    doubtful: bool = False


KINDS = (
    Kind(name="tags", may=lambda o: bool(o.bits & TAG), undo=characters.tags),
    Kind(name="invisible", may=lambda o: bool(o.bits & INVISIBLE), undo=characters.invisible),
    Kind(name="marks", may=lambda o: bool(o.bits & MARK), undo=characters.marks),
    Kind(name="nfkc", may=lambda o: bool(o.bits & COMPATIBLE), undo=characters.compatible),
    Kind(
        name="confusables",
        may=lambda o: o.is_mixed or (o.is_latin and bool(o.bits & TWIN)),
        undo=confusables.confusable,
    ),
    Kind(name="html", may=lambda o: "&#" in o.text, undo=codes.entities),
    Kind(name="percent", may=lambda o: "%" in o.text, undo=codes.percent),
    Kind(name="escapes", may=lambda o: "\\" in o.text, undo=codes.escapes),
    Kind(
        name="base64",
        may=lambda o: codes.may_be_base64(o.text, o.longest_code),
        undo=codes.from_base64,
    ),
    Kind(
        name="hex",
        may=lambda o: o.longest_hex >= 12 or o.longest_pairs >= 17,
        undo=codes.hexadecimal,
    ),
    Kind(name="morse", may=lambda o: codes.may_be_morse(o.text), undo=codes.morse),
    Kind(
        name="spaced",
        may=lambda o: o.apart or bool(o.bits & EMOJI),
        undo=spelling.joined,
        doubtful=True,
    ),
    Kind(
        name="leetspeak",
        may=lambda o: o.has_signs,
        undo=spelling.leetspeak,
        doubtful=True,
    ),
    Kind(
        name="repeated",
        may=lambda o: o.repeats or o.n_doubled >= o.n_letters / 4,
        undo=spelling.repeated,
        doubtful=True,
    ),
    Kind(
        name="rot13",
        may=lambda o: turned.may_be_rot13(o.trigrams),
        undo=turned.rot13,
        doubtful=True,
    ),
    Kind(
        name="reversed",
        may=lambda o: turned.may_be_backwards(o.trigrams),
        undo=turned.backwards,
        doubtful=True,
    ),
)
