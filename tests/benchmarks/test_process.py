import os
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.messages import Loaded, Memory, WorkerRequest
from benchmarks.harness.process import start_worker
from benchmarks.speed.systems import ModelFiles, SpeedSetup, SpeedSpec

MEMORY = WorkerRequest(action="memory")
ANSWER = (
    "import json, sys; sys.stdin.readline(); "
    "print(json.dumps({'body': {'rss_bytes': 7, 'peak_bytes': 8}}), flush=True)"
)


def bundle_setup(bundle: Path) -> SpeedSetup:
    return SpeedSetup(
        system=SpeedSpec(name="onnx-fp32", title="x", kind="bundle", variant="fp32"),
        files=ModelFiles(recipe="", bundle=str(bundle), base="", adapters={}, merged=""),
        threads=1,
        workloads=(),
        rows=((1, 2, 3),),
    )


def test_an_answer_is_decoded() -> None:
    with start_worker("s", ["-c", ANSWER], threads=1) as worker:
        assert worker.ask(MEMORY, Memory) == Memory(rss_bytes=7, peak_bytes=8)


def test_an_answer_of_another_kind_is_refused() -> None:
    with (
        start_worker("s", ["-c", ANSWER], threads=1) as worker,
        pytest.raises(WorkerFailed, match="expected a Loaded"),
    ):
        worker.ask(MEMORY, Loaded)


def test_a_worker_that_ends_is_named_with_its_exit_code_and_last_words() -> None:
    script = "import sys; sys.stdin.readline(); sys.exit('no such model')"
    with (
        start_worker("pytorch", ["-c", script], threads=1) as worker,
        pytest.raises(WorkerFailed, match=r"(?s)pytorch.*exit code 1.*no such model"),
    ):
        worker.ask(MEMORY, Memory)


def test_a_worker_that_is_killed_is_named_with_the_signal() -> None:
    script = f"import os, sys; sys.stdin.readline(); os.kill(os.getpid(), {signal.SIGKILL})"
    with (
        start_worker("onnx-int8", ["-c", script], threads=1) as worker,
        pytest.raises(WorkerFailed, match=r"onnx-int8.*SIGKILL \(out of memory\?\)"),
    ):
        worker.ask(MEMORY, Memory)


def test_a_worker_that_died_before_the_question_is_noticed() -> None:
    with start_worker("early", ["-c", ""], threads=1) as worker:
        worker.process.wait()
        with pytest.raises(WorkerFailed, match=r"early: its process ended with exit code 0"):
            worker.ask(MEMORY, Memory)


def test_leaving_the_block_ends_the_process() -> None:
    with start_worker("s", ["-c", "import time; time.sleep(60)"], threads=1) as worker:
        pid = worker.process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_systems_error_is_the_workers_answer(tmp_path: Path) -> None:
    with (
        start_worker("onnx-fp32", ["-m", "benchmarks.speed.worker"], threads=1) as worker,
        pytest.raises(WorkerFailed, match=r"onnx-fp32: BundleError: .* is not a bundle"),
    ):
        worker.ask(bundle_setup(tmp_path), Loaded)


def test_threads_reach_the_pools_that_only_the_environment_sets() -> None:
    script = (
        "import json, os, sys; sys.stdin.readline();"
        "n = int(os.environ['OMP_NUM_THREADS']) + int(os.environ['RAYON_NUM_THREADS']);"
        "print(json.dumps({'body': {'rss_bytes': n, 'peak_bytes': 0}}), flush=True)"
    )
    with start_worker("s", ["-c", script], threads=3) as worker:
        assert worker.ask(MEMORY, Memory) == Memory(rss_bytes=6, peak_bytes=0)


def test_the_process_that_measures_a_bundle_holds_no_pytorch(tiny_bundle: Path) -> None:
    script = (
        "import json, sys; from benchmarks.speed import worker;"
        "worker.serve(iter(sys.stdin), lambda _: print(json.dumps({'body': {'peak_bytes': 0,"
        " 'rss_bytes': sum(name in sys.modules for name in ('torch', 'transformers', 'peft',"
        " 'onnx'))}}), flush=True))"
    )
    with start_worker("s", ["-c", script], threads=1) as worker:
        assert worker.ask(bundle_setup(tiny_bundle), Memory) == Memory(rss_bytes=0, peak_bytes=0)


def test_the_interpreter_is_the_parents() -> None:
    with start_worker("s", ["-c", "import time; time.sleep(60)"], threads=1) as worker:
        assert isinstance(worker.process.args, list)
        assert worker.process.args[0] == sys.executable
