"""A fault in the middle of a run loses no row and doubles none."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

import hazgate
from benchmarks.harness.ray_nodes import head_node, joined_node, wait_for_nodes
from hazgate import Bundle
from tests.support.corpora import (
    dead_letters_of,
    line_positions,
    parts_of,
    write_jsonl,
    write_parquet,
)
from tests.support.damage import edit_manifest
from tests.support.processes import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

N_ROWS = 9000
_WAIT_S = 180


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON Lines of several shards; every thousandth line is none."""
    words = ["weather", "in", "Paris", "tomorrow", "is", "said", "to", "be", "fine"]
    rows = (
        b"not json"
        if i % 1000 == 999
        else {
            "text": " ".join(words[: 2 + i % 8]),
            "n": i,
            "pad": f"{random.Random(i).getrandbits(1800):0450x}",
        }
        for i in range(N_ROWS)
    )
    return write_jsonl(tmp_path_factory.mktemp("corpus") / "a.jsonl", rows)


def _command(bundle: Path, inputs: Path, output: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-m", "hazgate", "corpus", str(bundle), "--input", str(inputs)]
    return [*command, "--output", str(output), *arguments]


@contextmanager
def _started(
    command: list[str], log: Path, environment: Mapping[str, str] = os.environ
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env=dict(environment)
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_until(claim: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not claim():
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.05)


def _parts(output: Path) -> list[Path]:
    return sorted((output / "parts").glob("*"))


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The actors of a run, which are children of the Ray that it started."""
    return [child for child in _family(process) if _is_worker(child)]


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        family: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return family


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("_Scorer" in word for word in process.cmdline())
    except psutil.NoSuchProcess:  # it may have ended meanwhile
        return False


def _assert_every_row_once(file: Path, output: Path) -> None:
    positions = [row["hazgate_position"] for row in parts_of(output)]
    positions += [letter["position"] for letter in dead_letters_of(output)]
    assert sorted(positions) == line_positions(file)
    assert (output / "_SUCCESS").exists()


def test_the_shard_of_a_worker_that_is_killed_is_done_by_another(
    mini_bundle: Path, corpus: Path, tmp_path: Path
) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    with _started(_command(mini_bundle, corpus, output), log) as driver:
        _wait_until(lambda: _parts(output), log)
        (victim, *_) = _workers(driver)
        victim.kill()
        assert driver.wait(_WAIT_S) == 0, log.read_text()
    _assert_every_row_once(corpus, output)


def test_a_run_whose_driver_is_killed_goes_on_with_what_it_lacks(
    mini_bundle: Path, corpus: Path, tmp_path: Path
) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    command = _command(mini_bundle, corpus, output)
    with _started(command, log) as driver:
        _wait_until(lambda: _parts(output), log)
        left = _family(driver)
        workers = _workers(driver)
        driver.kill()
    # Nothing works for a driver that is gone; Ray's agents may outlive it by a while.
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    for agent in left:
        with suppress(psutil.NoSuchProcess):
            agent.kill()
    done = {part: part.stat().st_mtime_ns for part in _parts(output)}
    assert not (output / "_SUCCESS").exists()
    for part in done:
        pq.read_table(part)
    with _started(command, log) as driver:
        assert driver.wait(_WAIT_S) == 0, log.read_text()
    _assert_every_row_once(corpus, output)
    assert all(part.stat().st_mtime_ns == at for part, at in done.items())


def test_a_full_disk_leaves_whole_parts_and_the_run_goes_on_once_there_is_room(
    mini_bundle: Path, corpus: Path, tmp_path: Path
) -> None:
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    if run("mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", disk).returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        command = _command(mini_bundle, corpus, disk / "out")
        with _started(command, log) as driver:
            assert driver.wait(_WAIT_S) == 6, log.read_text()
        assert "No space left on device; free space and run the same command again" in " ".join(
            log.read_text().split()
        )
        assert not (disk / "out" / "_SUCCESS").exists()
        assert [pq.read_table(part).num_rows > 0 for part in _parts(disk / "out")].count(False) == 0
        assert run("mount", "-o", "remount,size=100m", disk).returncode == 0
        with _started(command, log) as driver:
            assert driver.wait(_WAIT_S) == 0, log.read_text()
        _assert_every_row_once(corpus, disk / "out")
    finally:
        run("umount", "-l", disk)


def test_rows_of_50_megabytes_kill_neither_memory_nor_the_run(
    mini_bundle: Path, tmp_path: Path
) -> None:
    folder, log = tmp_path / "in", tmp_path / "log"
    folder.mkdir()
    large = "x" * (50 << 20)
    good = [f"text {i}" for i in range(3000)]
    lines: list[object] = [{"text": text} for text in good]
    lines[100:100] = [{"text": large}, b"\xff\xfe", '{"text": "é"}'.encode("latin-1")]
    write_jsonl(folder / "a.jsonl", lines)
    write_parquet(folder / "b.parquet", {"text": [*good, large], "fields": [""] * 3001})
    peak = 0
    with _started(
        _command(mini_bundle, folder, tmp_path / "out", "--columns", "text"), log
    ) as run_:
        while run_.poll() is None:
            for worker in _workers(run_):
                with suppress(psutil.NoSuchProcess):
                    peak = max(peak, worker.memory_info().rss)
            time.sleep(0.1)
    assert run_.returncode == 0, log.read_text()
    assert [row["text"] for row in parts_of(tmp_path / "out")] == good * 2
    errors = sorted(letter["error"] for letter in dead_letters_of(tmp_path / "out"))
    assert errors == ["not_utf8", "not_utf8", "too_large", "too_large"]
    assert 0 < peak < 1 << 30


def test_the_work_of_a_node_that_dies_is_done_by_the_others(
    mini_bundle: Path, corpus: Path, tmp_path: Path
) -> None:
    output, log = tmp_path / "out", tmp_path / "log"
    with head_node() as nodes, joined_node(nodes) as second:
        wait_for_nodes(nodes, 2)
        command = _command(mini_bundle, corpus, output, "--address", nodes.address)
        with _started(command, log, nodes.environment) as driver:
            _wait_until(lambda: _parts(output), log)
            second.kill()
            assert driver.wait(2 * _WAIT_S) == 0, log.read_text()
    _assert_every_row_once(corpus, output)


def test_a_node_with_another_bundle_and_another_version_is_refused(
    mini_bundle: Path, corpus: Path, tmp_path: Path
) -> None:
    if run("unshare", "--mount", "true").returncode:
        pytest.skip("a node that sees other files on the same machine takes root")
    log = tmp_path / "log"
    here = Path(shutil.copytree(mini_bundle, tmp_path / "bundle"))
    other = Path(shutil.copytree(mini_bundle, tmp_path / "other"))
    edit_manifest(other, lambda data: data.update(name="other"))
    package = Path(hazgate.__file__)
    newer = tmp_path / "newer.py"
    newer.write_text(package.read_text().replace('__version__ = "', '__version__ = "9.'))
    mounts = f"mount --bind {other} {here} && mount --bind {newer} {package}"
    within = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    with head_node() as nodes, joined_node(nodes, within):
        wait_for_nodes(nodes, 2)
        command = _command(here, corpus, tmp_path / "out", "--address", nodes.address)
        with _started(command, log, nodes.environment) as driver:
            assert driver.wait(_WAIT_S) == 3, log.read_text()
    said = " ".join(log.read_text().split())
    assert "the cluster's nodes differ" in said
    assert Bundle.open(other).digest in said
    assert "hazgate 9." in said
    assert _parts(tmp_path / "out") == []
