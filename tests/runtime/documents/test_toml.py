"""TOML is read strictly, and a document that is not TOML is named."""

import pytest

from hazgate.documents.toml import parse_toml
from hazgate.errors import PolicyError


def test_tables_are_read() -> None:
    document = 'a = 1\n[b]\nc = "ä"\n'.encode()
    assert parse_toml(document, source="it", error=PolicyError) == {"a": 1, "b": {"c": "ä"}}


@pytest.mark.parametrize(
    "document",
    [
        b"a = ",
        b'a = "\xff"',
        b"a = 1\na = 2",
        b"a = " + b"9" * 5000,
        b"a = " + b"[" * 100_000,
    ],
    ids=["cut short", "not UTF-8", "a key twice", "too many digits", "nested too deep"],
)
def test_text_that_is_not_toml_is_refused_with_its_name(document: bytes) -> None:
    with pytest.raises(PolicyError, match=r"^rules\.toml is not a TOML document in UTF-8: "):
        parse_toml(document, source="rules.toml", error=PolicyError)
