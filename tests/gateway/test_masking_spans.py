"""Spans of a token level are replaced, exactly, by what a policy says; else a body is blocked."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from hazgate import Gate, Policy
from hazgate.engine.options import EngineOptions
from hazgate.serving.bodies.passages import Passage
from hazgate.serving.bodies.passages import Path as Place
from hazgate.serving.markers import MARKER, Region, with_markers
from hazgate.serving.masking import PassageMask, mask_strings
from hazgate.serving.settings import ServeSettings, StreamTable
from hazgate.text.reading import Reading
from tests.support.served import LITELLM, served
from tests.support.spotter import MORNING_HAZARD
from tests.support.tagger import LEVEL, write_tagged_panel
from tests.support.tiny import HAZARDS

_CONTENT: Place = (((((), "messages"), 0)), "content")
# "good" is a name; "world" an address, of the probability 0.55; "morning" is a hazard.
POLICY = f"""schema_version = 1
name = "masks"
mode = "strict"
unread = {{ default = "block", unknown_words = "flag" }}
[gate]
controversial = 0.5
unsafe = 0.5
[hazards]
default = {{ action = "block", threshold = 0.9 }}
{HAZARDS[MORNING_HAZARD]} = {{ action = "mask", threshold = 0.4 }}
[levels.{LEVEL}]
action = "mask"
"""


@pytest.fixture(scope="module")
def panel(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagged_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))


def _gate(panel: Path, more: str = "", reading: Reading | None = None) -> Gate:
    return Gate.open(
        panel,
        engine=EngineOptions(threads=1),
        reading=reading or Reading(views=()),
        policy=Policy.parse(f"{POLICY}{more}".encode()),
    )


@pytest.fixture(scope="module")
def client(panel: Path) -> Iterator[TestClient]:
    settings = ServeSettings(litellm_masks_responses=True, stream=StreamTable(hold_tokens=2))
    with served(_gate(panel), settings) as client:
        yield client


def _litellm(client: TestClient, *texts: str, **more: object) -> Any:  # noqa: ANN401 - JSON
    answer = client.post(LITELLM, json={"texts": list(texts), **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _agentgateway(client: TestClient, body: object) -> Any:  # noqa: ANN401 - JSON
    return client.post("/request", json={"body": body}).json()["action"]


# A text, and what is returned for it.
TEXTS = {
    "one": ("so good, or", "so [NAME], or"),
    "a word that begins like it": ("goods, good and goodness", "goods, [NAME] and goodness"),
    "two types": ("good or world", "[NAME] or [ADDRESS]"),
    "neighbours": ("good good", "[NAME] [NAME]"),
    "several windows": ("good " + "or " * 20 + "good", "[NAME] " + "or " * 20 + "[NAME]"),
    "emoji": (
        "\U0001f469\u200d\U0001f4bb\U0001f44d\U0001f3fd good \U0001f600",
        "\U0001f469\u200d\U0001f4bb\U0001f44d\U0001f3fd [NAME] \U0001f600",
    ),
    "combining marks": ("cafe\u0301 o\u0308 good e\u0301", "cafe\u0301 o\u0308 [NAME] e\u0301"),
    "right to left": (
        "\u05e9\u05dc\u05d5\u05dd good \u0645\u0631\u062d\u0628\u0627",
        "\u05e9\u05dc\u05d5\u05dd [NAME] \u0645\u0631\u062d\u0628\u0627",
    ),
    "line ends": ("or\r\ngood\r\n\r\nworld\r\n", "or\r\n[NAME]\r\n\r\n[ADDRESS]\r\n"),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_every_protocol_that_masks_gets_exactly_the_spans_replaced(
    client: TestClient, text: str, expected: str
) -> None:
    messages = [{"role": "user", "content": text}]
    for answer in (
        _litellm(client, "or", text, structured_messages=messages, input_type="request"),
        _litellm(client, "or", text, input_type="response"),
    ):
        assert answer["action"] == "GUARDRAIL_INTERVENED"
        assert answer["texts"] == ["or", expected]
    action = _agentgateway(client, {"messages": messages, "model": "m"})
    assert action["body"] == {"messages": [{"role": "user", "content": expected}], "model": "m"}
    content = [{"text": {"text": "or"}}, {"text": {"text": text}}]
    asked = {"source": "INPUT", "content": content}
    answer = client.post("/guardrail/g/version/1/apply", json=asked).json()
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    assert answer["outputs"] == [{"text": "or"}, {"text": expected}]


def test_every_text_of_a_request_is_masked(client: TestClient) -> None:
    answer = _litellm(client, "good", "or good", "good", "world", input_type="request")
    assert answer["texts"] == ["[NAME]", "or [NAME]", "[NAME]", "[ADDRESS]"]
    body = {
        "messages": [
            {"role": "system", "content": "good"},
            {"role": "user", "content": [{"type": "text", "text": t} for t in ("or", "good or")]},
            {"role": "assistant", "content": "good"},
            {"role": "user", "content": "world"},
        ],
        "metadata": {"who": "good", "note": "or"},
    }
    masked = _agentgateway(client, body)["body"]
    assert [message["content"] for message in masked["messages"]] == [
        "[NAME]",
        [{"type": "text", "text": "or"}, {"type": "text", "text": "[NAME] or"}],
        "[NAME]",
        "[ADDRESS]",
    ]
    assert masked["metadata"] == {"who": "[NAME]", "note": "or"}


def test_texts_that_are_one_turn_are_masked_together(client: TestClient) -> None:
    parts = [{"type": "text", "text": text} for text in ("or", "good", "world")]
    messages = [{"role": "user", "content": parts}]
    answer = _litellm(
        client, "or", "good", "world", structured_messages=messages, input_type="request"
    )
    assert answer["texts"] == ["or", "[NAME]", "[ADDRESS]"]


def test_a_window_and_spans_of_one_text_are_masked_together(client: TestClient) -> None:
    # "good morning" is a name, and "morning" makes its window offend.
    text = "good " + "or " * 12 + "good morning " + "or " * 12 + "world"
    for answer in (
        _litellm(client, text, input_type="request")["texts"][0],
        _agentgateway(client, {"messages": [{"role": "user", "content": text}]})["body"][
            "messages"
        ][0]["content"],
    ):
        assert answer.startswith("[NAME] or")
        assert answer.endswith("or [ADDRESS]")
        assert answer.count("[") == 2 + answer.count(MARKER)
        assert MARKER in answer
        assert not any(word in answer for word in ("good", "morning", "world"))


@pytest.mark.parametrize(
    ("more", "text", "expected"),
    [
        ("threshold = 0.9", "good or world", "[NAME] or world"),
        ('labels = ["ADDRESS"]', "good or world", "good or [ADDRESS]"),
    ],
)
def test_the_rule_says_which_spans_are_masked(
    panel: Path, more: str, text: str, expected: str
) -> None:
    with served(_gate(panel, more)) as client:
        assert _litellm(client, text, input_type="request")["texts"] == [expected]


@pytest.mark.parametrize(
    "asked",
    [
        {"texts": ["or"], "structured_messages": [{"role": "user", "content": "good"}]},
        {"tool_calls": [{"function": {"name": "f", "arguments": '{"q": "good or"}'}}]},
        {"texts": ["good"], "images": ["AAAA"]},
        {"texts": ["good"], "additional_provider_specific_params": {"good": "or"}},
    ],
    ids=["not in texts", "a tool call", "an image", "a key"],
)
def test_litellm_blocks_spans_that_it_could_not_carry(
    client: TestClient, asked: dict[str, object]
) -> None:
    assert client.post(LITELLM, json=asked).json()["action"] == "BLOCKED"


def test_agentgateway_rejects_spans_that_stand_in_no_string_of_its_own(client: TestClient) -> None:
    call = {"function": {"name": "f", "arguments": json.dumps({"q": "good or not"})}}
    for message in (
        {"role": "assistant", "tool_calls": [call]},
        {"role": "user", "content": "or", "extra": {"good": "or"}},
    ):
        assert _agentgateway(client, {"messages": [message]})["status_code"] == 403


def test_other_dialects_block_what_a_level_masks(client: TestClient) -> None:
    assert client.post("/ext_authz/x", json={"prompt": "so good"}).status_code == 403
    assert client.post("/ext_authz/x", json={"prompt": "or"}).status_code == 200


def test_responses_are_blocked_where_litellm_would_drop_the_mask(panel: Path) -> None:
    with served(_gate(panel)) as client:
        assert _litellm(client, "so good", input_type="response")["action"] == "BLOCKED"


def test_a_stream_whose_spans_may_change_waits_for_its_end(client: TestClient, panel: Path) -> None:
    texts = ["", "or or or or or or or or or", "or good"]
    answer = _litellm(client, *texts, input_type="response")
    assert answer["texts"] == ["", texts[1], "or [NAME]"]
    assert answer["stream_holdback_chars"] == [0, len(texts[1]), len("or [NAME]")]
    # A rule of any role counts.
    flags = Policy.parse(POLICY.replace('[levels.entities]\naction = "mask"', "").encode())
    by_role = POLICY.replace("[levels.", "[roles.tool.levels.")
    settings = ServeSettings(litellm_masks_responses=True, stream=StreamTable(hold_tokens=2))
    for policy, waits in ((flags, False), (Policy.parse(by_role.encode()), True)):
        with served(_gate(panel).with_policy(policy), settings) as other:
            held = _litellm(other, texts[1], input_type="response")["stream_holdback_chars"]
            assert (held == [len(texts[1])]) is waits


def test_a_text_that_was_not_read_to_its_end_is_blocked(panel: Path) -> None:
    gate = _gate(panel, reading=Reading(views=(), long_texts="truncate"))
    with served(gate) as client:
        assert _litellm(client, "or good", input_type="request")["texts"] == ["or [NAME]"]
        for long in ("good" + " or" * 9, "or morning" + " or" * 9):
            assert _litellm(client, long, input_type="request")["action"] == "BLOCKED"


def test_a_text_that_its_markers_make_too_long_to_be_read_is_blocked(panel: Path) -> None:
    # Six words fill the window that is read; a marker is three.
    gate = _gate(panel, reading=Reading(views=(), long_texts="truncate"))
    with served(gate) as client:
        assert _litellm(client, "good or or or or or", input_type="request")["action"] == "BLOCKED"
        expected = ["[NAME] or or or"]
        assert _litellm(client, "good or or or", input_type="request")["texts"] == expected


def test_many_spans_and_markers_take_no_long_time(client: TestClient) -> None:
    """Neither the number of parts nor that of markers counts twice."""
    n = 20_000
    text = "[NAME] good " * n
    regions = [Region(12 * i + 7, 12 * i + 11, "[NAME]") for i in range(n)]
    parts = [{"type": "text", "text": "good"}] * n
    body = {"messages": [{"role": "user", "content": parts}]}
    joined = Passage(text="\n".join(["good"] * n), place=_CONTENT, role="user")
    spans = tuple(Region(5 * i, 5 * i + 4, "[NAME]") for i in range(n))
    start_s = time.process_time()
    assert with_markers(text, regions, {"[NAME]"}) == "[NAME] [NAME] " * n
    mask = PassageMask(passage=joined, window=None, spans=spans)
    masked = mask_strings(body, [mask], {"[NAME]"})
    assert time.process_time() - start_s < 5
    assert masked["messages"][0]["content"] == [{"type": "text", "text": "[NAME]"}] * n


def test_a_level_that_takes_a_marker_for_a_name_does_not_block(
    panel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "[good]" is the marker of a type whose name the level takes for a name.
    monkeypatch.setattr("hazgate.serving.masking.marker_of", lambda label: "[good]")
    with served(_gate(panel, 'labels = ["NAME"]')) as client:
        answer = _litellm(client, "or good or", input_type="request")
        assert answer["action"] == "GUARDRAIL_INTERVENED"
        assert answer["texts"] == ["or [good] or"]
        # What was a marker from the start passes as it is.
        assert _litellm(client, "or [good]", input_type="request")["action"] == "NONE"
        body = {"messages": [{"role": "user", "content": "or [good]"}]}
        assert _agentgateway(client, body).keys() == {"reason"}


def test_v1_check_has_the_spans_to_mask(client: TestClient) -> None:
    answer = client.post("/v1/check", json={"text": "or good"}).json()
    (verdict,) = answer["verdicts"]
    decision = verdict["decision"]
    assert (decision["action"], decision["levels"]) == ("mask", [LEVEL])
    assert decision["masks"] == {"window": False, "spans": verdict["levels"][LEVEL]["spans"]}


def test_bedrock_names_what_it_found_without_a_block(client: TestClient) -> None:
    asked = {"source": "OUTPUT", "content": [{"text": {"text": "or good"}}]}
    answer = client.post("/guardrail/g/version/1/apply", json=asked).json()
    assert answer["outputs"] == [{"text": "or [NAME]"}]
    (found,) = answer["assessments"][0]["contentPolicy"]["filters"]
    assert (found["type"], found["action"], found["detected"]) == ("MISCONDUCT", "NONE", True)


# Words that are in a span, and others; what stands between them counts as it is.
_WORDS = ("good", "world", "or", "goods", "e\u0301", "\U0001f469\u200d\U0001f4bb", "\u05e9\u05dc")
_BETWEEN = (" ", "\r\n", "  ", ", ")


@settings(max_examples=40)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(_WORDS), st.sampled_from(_BETWEEN)), max_size=14),
        min_size=1,
        max_size=4,
    )
)
def test_nothing_but_the_spans_changes_in_any_text(
    client: TestClient, drawn: list[list[tuple[str, str]]]
) -> None:
    texts = ["or " + "".join(word + between for word, between in text) for text in drawn]
    # Neighbours of one address are one span: "world" alone does not begin another.
    expected = [
        re.sub(r"\bworld(?:\s+world)*\b", "[ADDRESS]", re.sub(r"\bgood\b", "[NAME]", text))
        for text in texts
    ]
    answer = _litellm(client, *texts, input_type="request")
    assert (answer["texts"] or texts) == expected
    body = {"messages": [{"role": "user", "content": text} for text in texts]}
    action = _agentgateway(client, body)
    returned = action.get("body", body)["messages"]
    assert [message["content"] for message in returned] == expected
