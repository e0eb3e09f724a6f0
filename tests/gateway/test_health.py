"""The health of an engine is that of its last try, and no try is awaited for ever."""

import asyncio

import pytest

from hazgate.serving import health
from hazgate.serving.health import Health


class _Panic(BaseException):
    """An error as a library in another language raises it: no Exception."""


def test_an_engine_that_does_not_answer_a_try_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PROBE_TIMEOUT_S", 0.05)

    async def ask() -> bool:
        state, go = Health(warmed=True), asyncio.Event()

        async def hang() -> None:
            await go.wait()

        state.suspect(hang)
        await state.try_again(hang)
        hung = state.ready
        go.set()
        await state.try_again(hang)
        assert state.ready
        return hung

    assert not asyncio.run(ask())


@pytest.mark.parametrize("error", [RuntimeError, _Panic])
def test_any_error_of_a_try_is_a_failure(error: type[BaseException]) -> None:
    async def ask() -> bool:
        state = Health(warmed=True)

        async def fail() -> None:
            raise error

        state.suspect(fail)
        await state.try_again(fail)
        return state.ready

    assert not asyncio.run(ask())
