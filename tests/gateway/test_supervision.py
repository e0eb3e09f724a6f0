"""A dead engine is opened again once; the second time the process ends and says so."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

import pytest

from hazgate import Gate
from hazgate.serving import supervision
from hazgate.serving.metered import metered_service
from hazgate.serving.metrics import Metrics
from hazgate.serving.queue.ask import Ask
from hazgate.serving.service import Service
from hazgate.serving.settings import EngineTable, ServeSettings
from hazgate.serving.supervision import drain_first, replace_dead_engine
from tests.support.sessions import held_gate

IMPATIENT = ServeSettings(engine=EngineTable(max_run_s=0.2))


class _Ended(Exception):  # noqa: N818 - stands for the end of the process
    """Raised instead of ending the process of the tests."""


@pytest.fixture(autouse=True)
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> NoReturn:
        raise _Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    monkeypatch.setattr(supervision, "_WATCH_INTERVAL_S", 0.02)


def _stuck(gate: Gate) -> tuple[Service, Callable[[], None]]:
    """Return a service whose engine is in a run that does not end, and what ends it."""
    held, session = held_gate(gate)
    service = metered_service(held, IMPATIENT, Metrics())
    service.engine.submit(Ask(texts=["good"]))
    assert session.running.wait(20)
    return service, session.go.set


async def _until(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until_s
        await asyncio.sleep(0.01)


def test_a_dead_engine_is_opened_again_once(spotting: Gate) -> None:
    service, release = _stuck(spotting)

    async def supervise() -> bool:
        watch = asyncio.create_task(replace_dead_engine(service, lambda: spotting))
        await _until(lambda: service.gate is spotting)
        verdict = await asyncio.to_thread(service.engine.check, "morning", timeout_s=20)
        watch.cancel()
        return verdict.flagged

    assert asyncio.run(supervise())
    assert service.live
    release()
    assert service.engine.close()


def test_an_engine_that_dies_again_ends_the_process(
    spotting: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    service, release = _stuck(spotting)
    again, session = held_gate(spotting)

    async def supervise() -> None:
        watch = asyncio.create_task(replace_dead_engine(service, lambda: again))
        await _until(lambda: service.gate is again)
        service.engine.submit(Ask(texts=["good"]))
        await watch

    with pytest.raises(_Ended, match="70"):
        asyncio.run(supervise())
    assert "the process ends" in caplog.text
    release()
    session.go.set()
    service.engine.close()


def test_sigterm_turns_readiness_red_before_the_server_stops(spotting: Gate) -> None:
    settings = ServeSettings(drain_delay_s=0.3)
    service = metered_service(spotting, settings, Metrics())
    stopped: list[float] = []

    def stop(_: int, __: FrameType | None) -> None:
        stopped.append(time.monotonic())

    async def serve() -> float:
        await service.warm()
        drain_first(service)
        assert await service.ready()
        start_s = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)
        await _until(lambda: service.health.draining)
        assert not await service.ready()
        assert not stopped
        await _until(lambda: bool(stopped))
        return stopped[0] - start_s

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        assert asyncio.run(serve()) >= settings.drain_delay_s
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert service.engine.close()


def test_outside_the_main_thread_signals_stay_as_they_are(spotting: Gate) -> None:
    service = metered_service(spotting, ServeSettings(), Metrics())
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=drain_first, args=(service,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert service.engine.close()
