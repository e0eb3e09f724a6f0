"""Requests as agents and MCP servers send them: each string of them is read."""

import json
from collections.abc import Iterator

import pytest

from hazgate.serving.bodies.read import read_request
from tests.support.harmless import HARMLESS, HarmlessRequest


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except ValueError:
            inner = None
        if isinstance(inner, (dict, list)):
            yield from _strings(inner)
        else:
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def test_there_are_at_least_thirty_shapes_of_names_of_their_own() -> None:
    assert len({request.name for request in HARMLESS}) == len(HARMLESS) >= 30


@pytest.mark.parametrize("request_", HARMLESS, ids=lambda request: request.name)
def test_every_string_with_words_is_read_and_nothing_is_unread(request_: HarmlessRequest) -> None:
    read = read_request("POST", request_.path, request_.headers, request_.content)
    assert not read.unread
    said = "\n".join(passage.text for passage in read.passages)
    for text in _strings(request_.body):
        if " " in text.strip() or "\n" in text.strip():
            assert text in said
