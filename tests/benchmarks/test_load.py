"""Open-loop load: requests arrive without waiting for answers, and each has one fate."""

import asyncio
import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.process import start_worker
from benchmarks.harness.store import load, save
from benchmarks.load.arrivals import arrivals, call_in_turn, offer, saturate
from benchmarks.load.asker import body_of
from benchmarks.load.client import Client, parse_head, request_bytes
from benchmarks.load.messages import (
    AskerReady,
    AskerRequest,
    AskerSetup,
    AskResults,
    InProcess,
    OverHttp,
    Rate,
)
from benchmarks.load.peers.models import shorten
from benchmarks.load.report import load_figure, load_table
from benchmarks.load.results import (
    LOADS,
    LoadedSystem,
    LoadFigures,
    LoadResults,
    figures_of,
    next_rate,
    overhead_of,
    peak_goodput,
)
from benchmarks.load.systems import PEERS, serve_settings
from hazgate.serving.settings import ServeSettings
from tests.support.results import toy_header

ASKER = ["-m", "benchmarks.load.asker"]


@given(rate=st.floats(1, 500), seconds=st.floats(0.5, 20), seed=st.integers(0, 99))
@settings(deadline=None)
def test_arrivals_ascend_within_the_time_at_about_the_requested_rate(
    rate: float, seconds: float, seed: int
) -> None:
    times = arrivals(rate, seconds, seed)
    assert times == sorted(times)
    assert all(0 < t < seconds for t in times)
    assert abs(len(times) - rate * seconds) <= 6 * math.sqrt(rate * seconds) + 6


def test_a_request_does_not_wait_for_the_answers_to_earlier_ones() -> None:
    n_begun = 0

    async def answer_together(text: str) -> bool:
        nonlocal n_begun
        n_begun += 1
        while n_begun < 4:
            await asyncio.sleep(0.001)
        return text != "refused"

    async def ask() -> list[float | None]:
        asked = offer(answer_together, ["a", "refused"], [0.0, 0.01, 0.02, 0.03])
        return await asyncio.wait_for(asked, 20)

    found = asyncio.run(ask())
    assert [taken is not None and math.isnan(taken) for taken in found] == [False, True] * 2


def test_a_caller_in_turn_asks_every_text_once_and_in_order() -> None:
    asked: list[str] = []
    found = call_in_turn(asked.append, ["a", "b"], [0.0, 0.0, 0.0])
    assert asked == ["a", "b", "a"]
    assert all(taken is not None and taken >= 0 for taken in found)


def test_saturation_counts_the_answers_of_every_asker() -> None:
    n_asked = 0

    async def ask(text: str) -> bool:
        nonlocal n_asked
        n_asked += 1
        await asyncio.sleep(0.001)
        return True

    begin = time.perf_counter()
    rate = asyncio.run(saturate(ask, ["a"], n_askers=8, seconds=0.1))
    elapsed_s = time.perf_counter() - begin
    # The rate's own time is a little shorter than the time around it.
    assert rate * elapsed_s >= n_asked


def test_saturation_keeps_every_asker_busy_and_shares_the_texts() -> None:
    waiting, most, asked = 0, 0, set()

    async def ask(text: str) -> bool:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        asked.add(text)
        await asyncio.sleep(0.001)
        waiting -= 1
        return True

    assert asyncio.run(saturate(ask, ["a", "b", "c"], n_askers=3, seconds=0.05)) > 0
    assert most == 3
    assert asked == {"a", "b", "c"}


def test_every_request_is_answered_shed_or_late() -> None:
    figures = figures_of("embedded", 1.0, [0.1, math.nan, None, 0.3], 2.0)
    assert (figures.offered, figures.answered, figures.shed, figures.late) == (4, 2, 1, 1)
    assert figures.p50_ms == pytest.approx(200)
    assert figures.goodput == 1.0


def test_short_texts_have_a_p99_of_their_own() -> None:
    short = [True, False, True, False]
    figures = figures_of("embedded", 1.0, [0.1, 9.0, None, 0.3], 2.0, short=short)
    assert figures.short_p99_ms == pytest.approx(100)
    assert figures_of("embedded", 1.0, [0.1], 2.0).short_p99_ms is None


def test_without_answers_there_are_no_latencies() -> None:
    figures = figures_of("direct", 1.0, [None], 2.0)
    assert (figures.p50_ms, figures.p99_ms) == (None, None)


def test_overhead_counts_pairs_with_two_answers() -> None:
    found = overhead_of("http", [0.010, 0.020, None, 0.030], [0.012, 0.021, 0.5, math.nan])
    assert found is not None
    assert found.n_pairs == 2
    assert found.added_ms == pytest.approx(1.5)
    assert found.direct_p50_ms == pytest.approx(15)
    assert found.p50_ms == pytest.approx(16.5)


def test_overhead_without_a_pair_is_none() -> None:
    assert overhead_of("http", [0.01], [None]) is None


def test_the_peak_is_the_best_goodput_at_any_load() -> None:
    system = loaded("http", 10)
    figures = [figures_of("http", 1.0, [0.1] * 24, 2.0), figures_of("other", 1.0, [0.1] * 90, 2.0)]
    assert peak_goodput(system, figures) == 12
    assert peak_goodput(system, []) == 10


def test_the_search_for_saturation_goes_up_and_down_until_it_is_enclosed() -> None:
    assert next_rate([(10, 10.0)]) == 15
    assert next_rate([(10, 10.0), (15, 14.0)]) == 22.5
    assert next_rate([(10, 10.0), (15, 12.0), (22.5, 15.0)]) == 33.75
    assert next_rate([(10, 10.0), (15, 12.0), (22.5, 12.5)]) is None
    assert next_rate([(12, 6.0)]) == 8
    assert next_rate([(12, 6.0), (8, 8.0)]) is None


def test_an_answers_head_gives_status_and_length_in_any_spelling() -> None:
    assert parse_head(b"HTTP/1.1 503 Busy\r\nContent-Length: 12\r\n\r\n") == (503, 12)
    assert parse_head(b"HTTP/1.1 200\r\nx: y\r\ncontent-length:0\r\n\r\n") == (200, 0)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"SMTP ready\r\n\r\n"])
def test_an_answer_without_a_length_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError, match="answer"):
        parse_head(head)


def test_a_request_states_the_length_of_its_body_in_bytes() -> None:
    head, _, body = request_bytes("/v1/check", "ü".encode()).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/check HTTP/1.1\r\n")
    assert b"content-length: 2" in head
    assert body == "ü".encode()


def test_a_client_reuses_a_connection_and_drops_a_closed_one() -> None:
    n_connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_connections
        n_connections += 1
        # Two answers per connection, then it is closed for idleness.
        for _ in range(2):
            await reader.readuntil(b"{}")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        writer.close()

    async def ask() -> list[int]:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            client = Client(port=server.sockets[0].getsockname()[1], patience_s=5)
            statuses = []
            for _ in range(4):
                statuses.append(await client.post("/", b"{}"))
                await asyncio.sleep(0.02)
            await client.close()
            return statuses

    assert asyncio.run(ask()) == [200] * 4
    assert n_connections == 2


def test_a_client_hangs_up_on_a_server_that_does_not_answer() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            client = Client(port=server.sockets[0].getsockname()[1], patience_s=0.05)
            with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
                await client.post("/", b"{}")

    asyncio.run(ask())


def test_a_text_is_sent_in_each_servers_own_form() -> None:
    ours = OverHttp(port=1, path="/", text_field="text")
    theirs = OverHttp(port=1, path="/", text_field="input", is_list=True, fields={"model": "m"})
    assert json.loads(body_of(ours, "ü")) == {"text": "ü"}
    assert json.loads(body_of(theirs, "ü")) == {"model": "m", "input": ["ü"]}


@pytest.mark.parametrize("way", ["async", "lock"])
def test_an_asker_asks_a_gate_in_its_own_process(tiny_bundle: Path, way: str) -> None:
    gate = InProcess(bundle=str(tiny_bundle), variant="fp32", threads=1, way=way)  # type: ignore[arg-type]
    with start_worker("asker", ASKER, threads=1) as worker:
        ready = worker.ask(AskerSetup(texts=("a", "b"), gate=gate), AskerReady)
        assert ready.pid == worker.process.pid
        for action in ("offer", "call"):
            request = AskerRequest(action=action, times=(0.0, 0.01, 0.02), first=1)
            found = worker.ask(request, AskResults)
            assert len(found.taken_s) == 3
            assert found.cpu_s > 0
        request = AskerRequest(action="saturate", n_askers=2, seconds=0.1)
        assert worker.ask(request, Rate).answers_per_s > 0


def test_an_asker_counts_a_missing_server_as_refusing() -> None:
    http = OverHttp(port=1, path="/", text_field="text")
    with start_worker("asker", ASKER, threads=1) as worker:
        worker.ask(AskerSetup(texts=("a",), http=http), AskerReady)
        (taken,) = worker.ask(AskerRequest(action="offer", times=(0.0,)), AskResults).taken_s
        assert taken is not None
        assert math.isnan(taken)
        with pytest.raises(WorkerFailed, match="in this process"):
            worker.ask(AskerRequest(action="call", times=(0.0,)), AskResults)


def test_the_server_accepts_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(serve_settings("int8", 2), encoding="utf-8")
    assert (ServeSettings.load(file).engine.variant, ServeSettings.load(file).engine.threads) == (
        "int8",
        2,
    )
    # The texts come again, and each is to be read, as by the other servers.
    assert ServeSettings.load(file).store.max_bytes == 0


def test_the_peers_programs_are_where_they_are_started_from() -> None:
    assert {file.name for file in PEERS.glob("*_server.py")} == {
        "level1_server.py",
        "optimum_server.py",
    }


def test_peers_truncate_texts_at_the_given_length(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer_config.json"
    file.write_text('{"model_max_length": 512, "pad_token": "[PAD]"}', encoding="utf-8")
    shorten(file, 256)
    assert json.loads(file.read_text()) == {"model_max_length": 256, "pad_token": "[PAD]"}


def test_results_survive_the_disk_and_make_the_tables(tmp_path: Path) -> None:
    results = sample_results()
    save(results, tmp_path / "load.json")
    assert load(LoadResults, tmp_path / "load.json") == results
    text = load_table(results)
    # Peak ten texts per second, nine at twice that load; the asker takes a fifth of a processor.
    assert "| Level 1 | the http | 10 | 100.0 | 100.0 | 100.0 | – | 100.0 |" in text
    assert "| 90% | 45% | 0% | 55% |" in text
    assert "| 100.0 | 0.20 |" in text
    assert "Not measured: infinity, not installed." in text
    assert "| hazgate serve, over HTTP | 13.0 | 10.0 | 3.00 |" in text


def test_a_figure_has_two_panels_for_each_kind_of_work() -> None:
    assert len(load_figure(sample_results()).axes) == 2


def loaded(name: str, rate: float) -> LoadedSystem:
    return LoadedSystem(
        name=name,
        title=f"the {name}",
        reads="Level 1",
        unpaced_rate=rate,
        saturation_rate=rate,
    )


def sample_results() -> LoadResults:
    overhead = overhead_of("http", [0.010], [0.013])
    assert overhead is not None
    return LoadResults(
        header=toy_header(),
        variant="int8",
        deadline_s=0.5,
        median_tokens=17,
        longest_tokens=99,
        overhead_rate=11.0,
        systems=(loaded("http", 10),),
        absent={"infinity": "not installed"},
        figures=tuple(_at(load_) for load_ in LOADS),
        overhead=(overhead,),
    )


def _at(load_: float) -> LoadFigures:
    offered, answered = int(20 * load_), min(18, int(20 * load_))
    found = [0.1] * answered + [None] * (offered - answered)
    return figures_of("http", load_, found, 2.0, asker_cpu_s=0.4, server_cpu_s=1.0)
