"""Texts that the tokenizer does not know are unread parts at every route, never safe ones."""

import dataclasses
from pathlib import Path

import pytest

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from hazgate.judging.decision import Action
from hazgate.text.tokenization import Tokenizer
from tests.support.tokenizers import write_letter_tokenizer
from tests.support.unread import LITELLM, policy_on, said, served

BOLD = "\U0001d407\U0001d40e\U0001d416 \U0001d413\U0001d40e"


@pytest.fixture(scope="module")
def gate(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """The tiny bundle behind a tokenizer that knows ASCII alone."""
    file = write_letter_tokenizer(tmp_path_factory.mktemp("letters") / "tokenizer.json")
    gate = Gate.open(tiny_bundle, engine=EngineOptions(threads=1))
    tokenizer = Tokenizer(file, gate.level1.spec.tokenizer)
    return dataclasses.replace(
        gate,
        level1=dataclasses.replace(gate.level1, tokenizer=tokenizer),
        hazard_level=dataclasses.replace(gate.level2, tokenizer=tokenizer),
        # Nothing is flagged for its score, and bold letters stay what the tokenizer does not know.
        threshold=0.9999,
        reading=dataclasses.replace(gate.reading, views=()),
    )


@pytest.mark.parametrize("action", ["block", "flag", "allow"])
def test_the_policy_decides_and_no_answer_calls_it_checked(gate: Gate, action: Action) -> None:
    policy = policy_on("unknown_words", action)
    with served(gate.with_policy(policy)) as client:
        passed = client.post("/ext_authz/v1/chat/completions", json=said(BOLD))
        assert passed.status_code == (403 if action == "block" else 200)
        guarded = client.post(LITELLM, json={"texts": [BOLD]})
        assert guarded.json()["action"] == ("BLOCKED" if action == "block" else "NONE")
        webhook = client.post("/request", json={"body": said(BOLD)}).json()["action"]
        assert "unknown" in webhook["reason"]
        assert ("status_code" in webhook) is (action == "block")
        checked = client.post("/v1/check", json={"texts": ["hello", BOLD]}).json()
        assert checked["flagged"] is (action != "allow")
        assert checked["unread_action"] == action
        assert checked["unread"] == [{"path": "$.texts[1]", "kind": "unknown_words"}]
        moderated = client.post("/v1/moderations", json={"input": BOLD})
        assert moderated.json()["results"][0]["flagged"] is (action != "allow")
        assert moderated.headers["x-hazgate-unread"] == "unknown_words"
        if action != "block":
            for answer in (passed, guarded):
                assert answer.headers["x-hazgate-unread"] == "unknown_words"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/classify", {"inputs": BOLD}),
        ("/classify", {"inputs": BOLD, "contract": "score.v1"}),
        ("/v1/classify", {"input": ["hello", BOLD]}),
        ("/predict", {"inputs": BOLD}),
    ],
)
def test_scores_alone_are_no_answer_for_it(gate: Gate, path: str, body: dict[str, object]) -> None:
    with served(gate) as client:
        refused = client.post(path, json=body)
        assert refused.status_code in (400, 422)
        assert "not understood" in refused.text
        assert client.post(path, json={**body, next(iter(body)): "hello"}).status_code == 200
    allowed = policy_on("unknown_words", "allow")
    with served(gate.with_policy(allowed)) as client:
        assert client.post(path, json=body).status_code == 200


def test_open_inference_flags_it_or_refuses_scores_alone(gate: Gate) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [BOLD]}
    with served(gate) as client:
        path = f"/v2/models/{gate.model.bundle}/infer"
        both = client.post(path, json={"inputs": [tensor]}).json()["outputs"]
        assert next(each for each in both if each["name"] == "flagged")["data"] == [True]
        alone = client.post(path, json={"inputs": [tensor], "outputs": [{"name": "unsafe"}]})
        assert alone.status_code == 400
        assert "not understood" in alone.text


def test_it_is_counted_and_logged(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    with served(gate) as client:
        with caplog.at_level("INFO", logger="hazgate"):
            client.post("/v1/check", json={"texts": ["hello", BOLD]})
        metrics = client.get("/metrics").text
    assert "hazgate_not_understood_total 1.0" in metrics
    assert "hazgate_unknown_tokens_total 2.0" in metrics
    (record,) = [each for each in caplog.records if each.message == "request"]
    assert record.__dict__["not_understood"] == 1
    assert BOLD not in caplog.text
