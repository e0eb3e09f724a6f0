"""Names of the kinds of disguise, in the order in which they are undone."""

NAMES = (
    "tags",
    "invisible",
    "marks",
    "nfkc",
    "confusables",
    "html",
    "percent",
    "escapes",
    "base64",
    "hex",
    "morse",
    "spaced",
    "leetspeak",
    "repeated",
    "rot13",
    "reversed",
)
