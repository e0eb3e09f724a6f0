"""Texts in a language that the bundle does not vouch for are named at every route."""

import shutil
from pathlib import Path

import pytest

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from hazgate.judging.decision import Action
from tests.support.unread import LITELLM, policy_on, said, served
from tests.support.vouching import vouch

RUSSIAN = "Как испечь хлеб дома без духовки"


@pytest.fixture(scope="module")
def gate(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    root = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("vouched") / "bundle")
    engine = EngineOptions(threads=1)
    return Gate.open(vouch(root, ["en"]), engine=engine, threshold=0.9999)


@pytest.mark.parametrize("action", ["block", "flag", "allow", None])
def test_it_is_marked_at_every_route_and_stopped_where_the_policy_says_so(
    gate: Gate, action: Action | None
) -> None:
    policy = None if action is None else policy_on("unvouched_language", action)
    blocks = action == "block"
    with served(gate.with_policy(policy)) as client:
        passed = client.post("/ext_authz/v1/chat/completions", json=said(RUSSIAN))
        assert passed.status_code == (403 if blocks else 200)
        guarded = client.post(LITELLM, json={"texts": [RUSSIAN]})
        assert guarded.json()["action"] == ("BLOCKED" if blocks else "NONE")
        webhook = client.post("/request", json={"body": said(RUSSIAN)}).json()["action"]
        assert "in a language that the model is not vouched for" in webhook["reason"]
        assert ("status_code" in webhook) is blocks
        checked = client.post("/v1/check", json={"texts": ["hello", RUSSIAN]}).json()
        assert checked["flagged"] is (action in ("block", "flag"))
        assert checked["unread_action"] == (action or "allow")
        assert checked["unread"] == [{"path": "$.texts[1]", "kind": "unvouched_language"}]
        assert [each.get("language") for each in checked["verdicts"]] == [None, "unvouched"]
        moderated = client.post("/v1/moderations", json={"input": RUSSIAN})
        assert moderated.json()["results"][0]["flagged"] is (action in ("block", "flag"))
        for answer in (moderated, *(() if blocks else (passed, guarded))):
            assert answer.headers["x-hazgate-unread"] == "unvouched_language"


def test_scores_alone_are_no_answer_where_the_policy_does_not_allow_it(gate: Gate) -> None:
    statuses: dict[Action, int] = {"block": 422, "flag": 422, "allow": 200}
    for action, status in statuses.items():
        policy = policy_on("unvouched_language", action)
        with served(gate.with_policy(policy)) as client:
            answer = client.post("/predict", json={"inputs": RUSSIAN})
            assert answer.status_code == status
            assert ("does not vouch for" in answer.text) is (status != 200)
            assert RUSSIAN not in answer.text
            assert client.post("/predict", json={"inputs": "hello"}).status_code == 200


def test_it_is_counted_and_logged(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    with served(gate) as client:
        with caplog.at_level("INFO", logger="hazgate"):
            client.post("/v1/check", json={"texts": ["hello", RUSSIAN]})
        metrics = client.get("/metrics").text
    assert "hazgate_unvouched_language_total 1.0" in metrics
    (record,) = [each for each in caplog.records if each.message == "request"]
    assert record.__dict__["unvouched"] == 1
    assert RUSSIAN not in caplog.text
