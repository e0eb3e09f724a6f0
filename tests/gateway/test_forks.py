"""A forked process gets an answer or an error at once, never silence."""

from pathlib import Path

from tests.support.processes import run_python
from tests.support.spotter import write_spotter

_PROGRAM = """
import asyncio, os, signal, sys
from hazgate import Gate, InferenceError
from hazgate.engine.options import EngineOptions
from hazgate.serving.queue.async_gate import AsyncGate

gate = Gate.open(sys.argv[1], engine=EngineOptions(threads=2))
queued = AsyncGate(gate)
assert queued.batcher.check("good morning").flagged

def child():
    signal.alarm(60)
    assert gate.check("good morning").flagged
    for ask in (
        lambda: queued.batcher.check("good morning"),
        lambda: asyncio.run(queued.check("good morning")),
    ):
        try:
            ask()
        except InferenceError as error:
            assert "before a fork" in str(error)
        else:
            raise AssertionError("no error")
    assert not queued.batcher.alive
    assert queued.batcher.close()

    async def own():
        async with AsyncGate(gate) as fresh:
            return await fresh.check("good morning")

    assert asyncio.run(own()).flagged

process = os.fork()
if process == 0:
    try:
        child()
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(process, 0)
assert queued.batcher.check("morning").flagged
assert queued.batcher.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_queue_made_before_a_fork_is_an_error_in_the_child_and_works_on_in_the_parent(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    done = run_python("-c", _PROGRAM, write_spotter(tiny_bundle, tmp_path))
    assert done.returncode == 0, done.stderr
