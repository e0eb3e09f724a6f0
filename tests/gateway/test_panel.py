"""Levels beside the cascade over HTTP, in the queue and in metrics."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hazgate import Gate, Policy
from hazgate.engine.options import EngineOptions
from hazgate.serving.http.app import create_app
from hazgate.serving.queue.async_gate import AsyncGate
from hazgate.serving.settings import ServeSettings
from tests.support.panel_bundle import INJECTION_BLOCKS, write_panel

ALL = ["injection", "pii", "topic"]


@pytest.fixture(scope="module")
def panel(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    folder = write_panel(tiny_bundle, tmp_path_factory.mktemp("panel"))
    return Gate.open(folder, engine=EngineOptions(threads=1))


@pytest.fixture(scope="module")
def client(panel: Gate) -> Iterator[TestClient]:
    with TestClient(create_app(panel, ServeSettings())) as client:
        yield client


def test_a_request_names_the_levels_that_it_wants(client: TestClient, panel: Gate) -> None:
    def verdict(**fields: object) -> dict[str, object]:
        answer = client.post("/v1/check", json={"text": "good world", **fields})
        assert answer.status_code == 200
        return dict(answer.json()["verdicts"][0])

    assert verdict() == panel.check("good world").to_dict()
    assert "levels" not in verdict()
    assert verdict(levels=["pii"]) == panel.check("good world", levels=["pii"]).to_dict()
    assert verdict(levels="all") == panel.check("good world", levels=ALL).to_dict()


@pytest.mark.parametrize(
    ("levels", "status", "words"),
    [
        (["spam"], 400, "no level 'spam' beside the cascade"),
        (["level2"], 400, "no level 'level2' beside the cascade"),
        ("pii", 422, "levels"),
        (["x" * 65], 422, "levels"),
        ([7], 422, "levels"),
        (["pii"] * 65, 422, "levels"),
    ],
)
def test_levels_that_are_not_there_are_refused(
    client: TestClient, levels: object, status: int, words: str
) -> None:
    answer = client.post("/v1/check", json={"text": "good", "levels": levels})
    assert answer.status_code == status
    assert words in answer.text


def test_a_level_that_decides_blocks_by_its_name_on_every_route(panel: Gate) -> None:
    ruled = panel.with_policy(Policy.parse(INJECTION_BLOCKS, source="policy.toml"))
    with TestClient(create_app(ruled, ServeSettings())) as client:
        body = {"messages": [{"role": "user", "content": "world"}]}
        denied = client.post("/ext_authz/v1/chat/completions", json=body)
        assert denied.status_code == 403
        assert "injection" in denied.text
        body["messages"][0]["content"] = "good"
        assert client.post("/ext_authz/v1/chat/completions", json=body).status_code == 200
        figures = client.get("/metrics").text
    assert 'hazgate_level_labels_total{label="injection",level="injection"} 1.0' in figures
    assert 'hazgate_level_labels_total{label="none",level="injection"} 1.0' in figures


def test_the_queue_keeps_apart_who_asks_for_which_levels(panel: Gate) -> None:
    async def ask() -> None:
        async with AsyncGate(panel, cache_entries=10) as gate:
            plain = await gate.check("good world")
            with_levels = await gate.check("good world", levels=["pii", "injection"])
            assert plain == panel.check("good world")
            assert with_levels == panel.check("good world", levels=["pii", "injection"])
            assert await gate.check("good world") == plain

    asyncio.run(ask())
