"""The store of logits in service: nothing read twice, nothing told, health still proven."""

import asyncio
import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hazgate import BundleError, Gate
from hazgate.engine.logit_store import NO_STORE, LogitStore, StoreFacts, StoreLimits
from hazgate.engine.options import EngineOptions
from hazgate.judge import Answer
from hazgate.serving.http.app import create_app
from hazgate.serving.keys import ApiKey
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.async_gate import AsyncGate
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.queue.engine_thread import BatchFacts
from hazgate.serving.settings import ServeSettings
from hazgate.serving.source import check_reloadable
from tests.support.damage import edit_manifest
from tests.support.sessions import breakable_gate, held_gate

LONG = "good morning " * 40


@contextmanager
def _batcher(gate: Gate, store: StoreLimits) -> Iterator[tuple[Batcher, list[int]]]:
    """Yield a batcher, and the rows of each run of its Level 1."""
    held, session = held_gate(gate)
    session.go.set()
    batcher = Batcher(held, store=store)
    try:
        yield batcher, session.n_texts
    finally:
        assert batcher.close(20)


# What is read, and what is not


@pytest.mark.parametrize("store", [StoreLimits(), StoreLimits(max_bytes=700), NO_STORE])
def test_a_batcher_with_any_store_gives_the_gates_own_verdicts(
    spotting: Gate, store: StoreLimits
) -> None:
    texts = [f"{'good ' * (i % 9)}{('morning', 'good', 'world')[i % 3]}" for i in range(90)]
    with _batcher(spotting, store) as (batcher, _), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(batcher.check, texts + texts))
    assert found == spotting.check_many(texts + texts)


def test_a_text_that_grows_costs_what_is_new(spotting: Gate) -> None:
    facts: list[BatchFacts] = []
    batcher = Batcher(spotting, store=StoreLimits(), on_batch=facts.append)
    n_windows = []
    for n_words in (60, 64, 68):
        text = " ".join(["good morning world hello"] * n_words)
        assert batcher.check(text) == spotting.check(text)
        n_windows.append(spotting.check(text).tokens.windows)
    assert batcher.close()
    windows = [each.store.hits + each.store.misses for each in facts]
    # Level 2 reads every window that is flagged, which are all.
    assert windows == [2 * n for n in n_windows]
    assert facts[0].store.misses <= 12
    assert [each.store.misses for each in facts[1:]] == [0, 0]


def test_the_store_is_on_in_an_async_gate_and_off_in_a_batcher(spotting: Gate) -> None:
    async def twice() -> StoreFacts:
        async with AsyncGate(spotting) as gate:
            assert await gate.check("good morning") == await gate.check("good morning")
            assert gate.batcher.store is not None
            return gate.batcher.store.facts

    facts = asyncio.run(twice())
    # A window of each level.
    assert (facts.hits, facts.misses) == (2, 2)
    batcher = Batcher(spotting)
    assert batcher.store is None
    batcher.close()


def test_a_known_text_waits_with_few_tokens(spotting: Gate) -> None:
    facts: list[BatchFacts] = []
    batcher = Batcher(spotting, store=StoreLimits(), on_batch=facts.append)
    for _ in range(2):
        batcher.check(LONG)
    assert batcher.close()
    assert facts[0].n_tokens > 80
    assert facts[1].n_tokens == 8


def test_known_texts_say_nothing_about_the_engines_pace(spotting: Gate) -> None:
    with _batcher(spotting, StoreLimits()) as (batcher, _):
        batcher.check(LONG)
        pace = batcher.seconds_per_token
        for _ in range(5):
            batcher.check(LONG)
        assert batcher.seconds_per_token == pace


# Nobody is told of others


def test_callers_and_tenants_read_for_themselves(spotting: Gate) -> None:
    with _batcher(spotting, StoreLimits()) as (batcher, n_rows):
        for caller in ("a", "b", "a", "b"):
            assert batcher.check("morning", caller=caller).flagged
        assert n_rows == [1, 1]


def test_callers_share_if_the_settings_say_so(spotting: Gate) -> None:
    with _batcher(spotting, StoreLimits(shared=True)) as (batcher, n_rows):
        for caller in "abc":
            assert batcher.check("morning", caller=caller).flagged
        assert n_rows == [1]


@pytest.mark.parametrize(("shared", "n_runs"), [(False, 3), (True, 2)])
def test_equal_texts_of_two_callers_share_a_wait_only_if_the_settings_say_so(
    spotting: Gate, shared: bool, n_runs: int
) -> None:
    held, session = held_gate(spotting)
    batcher = Batcher(held, store=StoreLimits(max_bytes=0, shared=shared))
    waiting: list[Future[Answer]] = []
    waiting += batcher.submit(Ask(texts=["good"], caller="other"))
    assert session.running.wait(20)
    for caller in ("a", "a", "b"):
        waiting += batcher.submit(Ask(texts=["morning"], caller=caller))
    # The tokenising thread takes these in order.
    waiting += batcher.submit(Ask(texts=["morning"], caller="a", all_levels=True))
    while batcher.n_waiting < n_runs:
        assert session.running.wait(20)
    session.go.set()
    answers = [each.result(20) for each in waiting[1:4]]
    assert answers == [spotting.check("morning")] * 3
    assert batcher.close(20)
    assert sum(session.n_texts) == 1 + n_runs


@pytest.mark.parametrize(("shared", "n_rows"), [(False, 3), (True, 1)])
def test_equal_windows_of_one_batch_are_read_once_for_each_owner(
    spotting: Gate, shared: bool, n_rows: int
) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    store = LogitStore(StoreLimits(shared=shared))
    owners = [("a", None), ("b", None), ("a", "tenant"), ("a", None)]
    questions = [dataclasses.replace(spotting.ask(["hello"])[0], owner=owner) for owner in owners]
    assert held.answer(questions, store=store) == spotting.check_many(["hello"] * 4)
    assert sum(session.n_texts) == n_rows


def test_a_kept_verdict_is_its_callers_own(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    batcher = Batcher(held, cache_entries=4)
    for caller in ("a", "b", "a"):
        batcher.check("morning", caller=caller)
    assert batcher.close(20)
    assert len(session.n_texts) == 2


# Other models


def test_another_bundle_answers_by_itself_and_the_old_windows_are_dropped(
    spotting: Gate, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(spotting.bundle.root, tmp_path / "other"))
    edit_manifest(other, lambda data: data.update(description="another"))
    swapped = Gate.open(other, engine=EngineOptions(threads=1))
    with _batcher(spotting, StoreLimits()) as (batcher, _):
        batcher.check("good morning")
        assert batcher.store is not None
        # A window of each level, and the text's outline.
        assert batcher.store.facts.n_entries == 3
        batcher.swap(swapped)
        assert batcher.store.facts.n_entries == 0
        assert batcher.check("good morning") == swapped.check("good morning")
        assert batcher.store.facts.hits == 0


def test_another_policy_keeps_the_windows(spotting: Gate) -> None:
    with _batcher(spotting, StoreLimits()) as (batcher, n_rows):
        batcher.check("good morning")
        batcher.swap(dataclasses.replace(batcher.gate, threshold=0.9999999))
        assert not batcher.check("good morning").flagged
        assert n_rows == [1]


def test_a_rebuilt_engine_begins_with_an_empty_store(spotting: Gate) -> None:
    with _batcher(spotting, StoreLimits()) as (batcher, n_rows):
        batcher.check("good morning")
        batcher.rebuild(batcher.gate)
        batcher.check("good morning")
        assert n_rows == [1, 1]


# The server


def test_metrics_and_info_say_what_the_store_does(spotting: Gate) -> None:
    with TestClient(create_app(spotting, ServeSettings())) as client:
        for _ in range(3):
            client.post("/v1/check", json={"text": "harmless words"})
        lines = client.get("/metrics").text.splitlines()
        stored = client.get("/info").json()["store"]
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("hazgate_store"))
    assert float(values['hazgate_store_windows_total{found="true"}']) >= 2
    assert float(values['hazgate_store_windows_total{found="false"}']) >= 1
    assert float(values["hazgate_store_bytes"]) > 0
    assert float(values["hazgate_store_evictions_total"]) == 0
    assert stored == {"max_bytes": 32 << 20, "shared": False, "levels": ["level1", "level2"]}


def test_one_line_turns_the_store_off(spotting: Gate, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text("[store]\nmax_bytes = 0\n", encoding="utf-8")
    with TestClient(create_app(spotting, ServeSettings.load(config))) as client:
        client.post("/v1/check", json={"text": "harmless words"})
        assert client.get("/info").json()["store"] == {
            "max_bytes": 0,
            "shared": False,
            "levels": [],
        }


def test_info_names_no_level_of_an_inexact_variant(tiny_bundle: Path) -> None:
    gate = Gate.open(tiny_bundle, engine=EngineOptions(variant="fp32", threads=1))
    with TestClient(create_app(gate, ServeSettings())) as client:
        assert client.get("/info").json()["store"]["levels"] == []


def test_a_broken_engine_is_not_hidden_by_the_store(spotting: Gate) -> None:
    breakable, switch = breakable_gate(spotting)
    with TestClient(create_app(breakable, ServeSettings())) as client:
        for _ in range(2):
            assert client.post("/v1/check", json={"text": "word "}).status_code == 200
        switch.broken = True
        assert client.post("/v1/check", json={"text": "something new"}).status_code == 500
        assert client.get("/health/ready").status_code == 503
        switch.broken = False


def test_a_server_with_keys_keeps_the_windows_of_each_apart(spotting: Gate) -> None:
    held, session = held_gate(spotting)
    session.go.set()
    keys = [ApiKey(digest=_digest("a")), ApiKey(digest=_digest("b"))]
    with TestClient(create_app(held, ServeSettings(), keys)) as client:
        n_runs = []
        for key in ("a", "b", "a"):
            before = len(session.n_texts)
            headers = {"authorization": f"Bearer {key}"}
            sent = client.post("/v1/check", json={"text": "harmless"}, headers=headers)
            assert sent.status_code == 200
            n_runs.append(len(session.n_texts) - before)
    assert n_runs == [1, 1, 0]


def test_wrong_settings_of_the_store_are_listed(tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(
        "[store]\nmax_bytes = -1\nsize = 1\n[queue]\nmax_queue_tokens = 0\n", encoding="utf-8"
    )
    with pytest.raises(BundleError) as caught:
        ServeSettings.load(config)
    for expected in (
        "$.store.max_bytes: must be at least 0, got -1",
        "$.store.size",
        "$.queue.max_queue_tokens: must be at least 1, got 0",
    ):
        assert expected in str(caught.value)
    config.write_text('[store]\nshared = "yes"\n', encoding="utf-8")
    with pytest.raises(BundleError, match=r"\$\.store\.shared"):
        ServeSettings.load(config)


def test_a_running_server_keeps_its_store() -> None:
    with pytest.raises(BundleError, match=r"store\.max_bytes: 33554432 so far, 0 now"):
        check_reloadable(ServeSettings(), ServeSettings(store=NO_STORE))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
