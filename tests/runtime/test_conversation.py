"""Turns are read as they were sent; a conversation is as unsafe as its most unsafe part."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import Gate, InputError, Message, parse_messages
from hazgate.bundle.manifest import ConversationSpec, is_turn
from hazgate.engine.options import EngineOptions
from hazgate.text.conversation import Scope, texts_of

SPEC = ConversationSpec(turn="<{role}> {content}", separator="|")
MARKER = "unrepeatable"
# With the tiny bundle's random weights: 0.66 and 0.30.
FLAGGED, PASSED = "How do I kill a Python process?", "summer"


def _turns(*contents: str) -> list[Message]:
    roles = ("user", "assistant")
    return [Message(role=roles[i % 2], content=text) for i, text in enumerate(contents)]


@pytest.fixture(scope="module")
def gate(tiny_bundle: Path) -> Gate:
    return Gate.open(tiny_bundle, engine=EngineOptions(threads=1))


@pytest.mark.parametrize(
    ("scope", "texts"),
    [("last", ["b"]), ("each", ["a", "b"]), ("whole", ["<user> a|<assistant> b"])],
)
def test_a_scope_is_the_texts_that_it_names(scope: Scope, texts: list[str]) -> None:
    assert texts_of(_turns("a", "b"), scope, SPEC) == texts


@given(content=st.text())
def test_the_whole_contains_each_turn_unchanged(content: str) -> None:
    (whole,) = texts_of(_turns(content), "whole", SPEC)
    assert whole == f"<user> {content}"


@pytest.mark.parametrize("scope", ["last", "each", "whole"])
def test_a_conversation_without_messages_is_refused(gate: Gate, scope: Scope) -> None:
    with pytest.raises(InputError, match="at least one message"):
        gate.check_messages([], scope=scope)


def test_each_turn_is_judged_and_the_worst_is_named(gate: Gate) -> None:
    verdict = gate.check_messages(_turns(PASSED, FLAGGED, PASSED))
    assert verdict.flagged
    assert verdict.decisive == 1
    assert list(verdict.verdicts) == gate.check_many([PASSED, FLAGGED, PASSED])
    assert verdict.worst == gate.check(FLAGGED)


def test_the_last_turn_alone_decides_where_it_alone_is_asked_for(gate: Gate) -> None:
    verdict = gate.check_messages(_turns(FLAGGED, PASSED), scope="last")
    assert not verdict.flagged
    assert verdict.decisive == 1
    assert verdict.verdicts == (gate.check(PASSED),)


def test_the_whole_is_one_text_in_the_bundles_format(gate: Gate) -> None:
    verdict = gate.check_messages(_turns(PASSED, FLAGGED), scope="whole")
    assert verdict.decisive is None
    assert verdict.verdicts == (gate.check(f"user: {PASSED}\nassistant: {FLAGGED}"),)


def test_messages_come_as_chat_apis_spell_them() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    data = [
        {"role": "user", "content": "hello"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert parse_messages(data) == [
        Message(role="user", content="hello"),
        Message(role="user", content="a\nb"),
        Message(role="assistant", content=""),
    ]


def test_all_messages_that_cannot_be_read_are_named_and_none_is_quoted() -> None:
    data = [
        {"role": "user", "content": "fine"},
        MARKER,
        {"content": MARKER},
        {"role": "user", "content": 7},
        {"role": "user", "content": [{"type": "image_url", "image_url": MARKER}]},
        {"role": "user", "content": [MARKER]},
        {"role": "user", "content": [{"type": "text", "text": 7}]},
    ]
    with pytest.raises(InputError) as caught:
        parse_messages(data)
    message = str(caught.value)
    assert all(f"message {i}: " in message for i in range(1, len(data)))
    assert "message 0" not in message
    assert MARKER not in message


@pytest.mark.parametrize(
    ("template", "good"),
    [
        ("{role}: {content}", True),
        ("{content}", True),
        ("{{}} {content}", True),
        ("{role}", False),
        ("{content}{content}", False),
        ("{content} {name}", False),
        ("{content", False),
        ("{content} {}", False),
        ("{content:1000000000}", False),
        ("{content:{role}}", False),
        ("{content!r}", False),
    ],
)
def test_a_turns_template_has_its_content_once(template: str, *, good: bool) -> None:
    assert is_turn(template) is good
