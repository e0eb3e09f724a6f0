"""Spans of a token level over HTTP, in the queue and in the metrics."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import ServeSettings
from tests.support.tagger import LEVEL, write_tagged_panel


@pytest.fixture(scope="module")
def panel(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    folder = write_tagged_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))
    return Gate.open(folder, engine=EngineOptions(threads=1))


@pytest.fixture(scope="module")
def client(panel: Gate) -> Iterator[TestClient]:
    with TestClient(create_app(panel, ServeSettings())) as client:
        yield client


@pytest.mark.parametrize("levels", [[LEVEL], "all"])
def test_a_verdict_has_the_spans_that_were_asked_for(
    client: TestClient, panel: Gate, levels: object
) -> None:
    answer = client.post("/v1/check", json={"text": "good world", "levels": levels})
    assert answer.status_code == 200
    (verdict,) = answer.json()["verdicts"]
    expected = panel.check("good world", levels=[LEVEL]).to_dict()["levels"][LEVEL]
    assert verdict["levels"][LEVEL] == expected
    assert [span["label"] for span in expected["spans"]] == ["NAME", "ADDRESS"]


def test_each_turn_of_a_conversation_has_spans_of_its_own_characters(client: TestClient) -> None:
    messages = [{"role": "user", "content": "or"}, {"role": "assistant", "content": "a good"}]
    answer = client.post("/v1/check", json={"messages": messages, "levels": [LEVEL]})
    first, second = (each["levels"][LEVEL]["spans"] for each in answer.json()["verdicts"])
    assert first == []
    (span,) = second
    assert (span["start"], span["end"]) == (2, 6)


def test_metrics_count_the_types_and_the_runs_of_the_level(client: TestClient) -> None:
    client.post("/v1/check", json={"text": "good", "levels": [LEVEL]})
    text = client.get("/metrics").text
    assert 'hazgate_level_labels_total{label="NAME",level="entities"}' in text
    assert 'hazgate_run_seconds_count{level="entities"}' in text
