"""Bodies as APIs document them: each text is its speaker's, and what is no text is listed."""

from collections.abc import Iterator

import pytest

from hazgate.serving.bodies.read import read_body
from tests.support.documented import DOCUMENTED, Documented

JSON = {"content-type": "application/json"}


def _sentences(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if " " in value and not value.startswith("{"):
            yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _sentences(each)
    elif isinstance(value, list):
        for each in value:
            yield from _sentences(each)


@pytest.mark.parametrize("body", DOCUMENTED, ids=lambda body: body.name)
def test_a_documented_body_is_read(body: Documented) -> None:
    read = read_body(JSON, body.content, body.side)
    assert body.role in {p.role for p in read.passages if body.said in p.text}
    assert [part.kind for part in read.unread] == list(body.unread)
    for text in _sentences(body.body):
        assert any(text in p.text or p.text in text for p in read.passages), text


def test_there_are_over_forty_bodies_of_names_of_their_own() -> None:
    assert len({body.name for body in DOCUMENTED}) == len(DOCUMENTED) > 40
