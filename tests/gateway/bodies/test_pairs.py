"""Questions are found whatever the API, and every part of an answer stands beside them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import BundleError
from hazgate.bundle.manifest import ConversationSpec
from hazgate.serving.bodies.pairs import beside, check_pairs, paired, questions_of
from hazgate.serving.bodies.read import read_body
from hazgate.text.tokenization import Tokenizer
from tests.support.tokenizers import windows_spec, write_word_tokenizer

JSON = {"content-type": "application/json"}
FORMAT = ConversationSpec(turn="{role}: {content}", separator="\n")
ROOM = 16


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    file = write_word_tokenizer(tmp_path_factory.mktemp("words") / "tokenizer.json")
    spec = windows_spec(ROOM + 2, 2, max_tokens=64)
    return Tokenizer(file, spec)


def _asked(body: object) -> tuple[str, ...]:
    return questions_of(read_body(JSON, json.dumps(body).encode(), "request"))


def _said(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


CHAT = [_said("user", "first"), _said("assistant", "yes"), _said("user", "second")]
RESULT = _said("user", [{"type": "tool_result", "tool_use_id": "t_1", "content": "found"}])


@pytest.mark.parametrize(
    ("body", "questions"),
    [
        ({"messages": CHAT}, {"second"}),
        ({"messages": [*CHAT, _said("tool", "found")]}, {"second"}),
        ({"messages": [*CHAT, RESULT], "system": "be brief"}, {"second"}),
        ({"messages": [*CHAT, _said("user", "first")]}, {"first"}),
        ({"messages": [_said("user", ["one", "two"])]}, {"one\ntwo"}),
        (
            {"messages": [_said("user", [{"type": "text", "text": "a b c d"}, {"text": "more"}])]},
            {"a b c d\nmore"},
        ),
        ({"input": CHAT, "instructions": "be brief"}, {"second"}),
        ({"input": "second"}, {"second"}),
        ({"prompt": "second", "model": "m"}, {"second"}),
        ({"prompt": ["one", "two"]}, {"one\ntwo"}),
        ({"contents": [{"parts": [{"text": "first"}]}, {"parts": [{"text": "second"}]}]}, None),
        ({"contents": {"parts": [{"text": "one"}, {"text": "two"}]}}, {"one\ntwo"}),
        ({"message": "second", "chat_history": [{"role": "USER", "message": "first"}]}, None),
        ({"thread": {"messages": CHAT}, "additional_instructions": "x"}, {"second"}),
        ({"messages": CHAT, "metadata": {"note": "some other words"}}, {"second"}),
        ({"unheard_of": {"said": "a question of four words"}}, None),
        ({"messages": [_said("system", "be brief")]}, set()),
        ({"messages": [*CHAT, _said("user", "continue")], "note": "continue"}, None),
    ],
)
def test_the_last_user_turn_of_a_request_is_its_question(
    body: object, questions: set[str] | None
) -> None:
    asked = _asked(body)
    if questions is not None:
        assert set(asked) == questions
        return
    assert any("second" in text or "four words" in text or text == "continue" for text in asked)


def test_a_decoy_takes_no_questions_place() -> None:
    decoys = {"input": "hello", "prompt": "good day", "contents": [{"parts": [{"text": "hi"}]}]}
    assert "second" in _asked({"messages": CHAT, **decoys})
    assert "second" in _asked({**decoys, "messages": CHAT})


@given(st.integers(1, 60), st.integers(1, 60))
def test_every_word_of_an_answer_stands_in_one_window_with_the_questions_end(
    tokenizer: Tokenizer, n_asked: int, n_said: int
) -> None:
    question, answer = (
        [f"{name}{i}" for i in range(n)] for name, n in (("q", n_asked), ("a", n_said))
    )
    end = 0
    for text in beside(" ".join(question), " ".join(answer), FORMAT, tokenizer):
        head, _, part = text.partition("\nassistant: ")
        assert head.removeprefix("user:").split() == question[-ROOM // 2 :]
        assert tokenizer.count(text) <= ROOM
        words = part.split()
        start = answer.index(words[0])
        assert words == answer[start : start + len(words)]
        assert start <= end < start + len(words)
        end = start + len(words)
    assert end == n_said


def test_only_what_the_model_says_is_paired(tokenizer: Tokenizer) -> None:
    said = {"choices": [{"message": {"role": "assistant", "content": "good world"}}]}
    body = read_body(JSON, json.dumps(said).encode(), "response")
    both = paired(body, ["good morning"], FORMAT, tokenizer)
    assert both.passages[: len(body.passages)] == body.passages
    (pair,) = both.passages[len(body.passages) :]
    assert pair.text == "user: good morning\nassistant: good world"
    assert (pair.role, pair.pair, pair.path) == ("assistant", True, body.passages[0].path)
    assert paired(body, [], FORMAT, tokenizer) == body


def test_a_format_that_names_no_speaker_is_refused() -> None:
    check_pairs(FORMAT, "mini")
    with pytest.raises(BundleError, match=r"policy\.pair: .*mini.*'\{content\}', without \{role\}"):
        check_pairs(ConversationSpec(turn="{content}", separator="\n"), "mini")
