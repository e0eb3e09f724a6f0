"""Compiled programs: no wrong one is ever taken, whatever happened to the folder."""

import dataclasses
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from hazgate.engine.buckets import Bucket
from hazgate.engine.programs import ProgramKey, program_folder

KEY = ProgramKey(
    model_sha256="a" * 64,
    gfx="gfx942",
    versions={"onnxruntime": "1.23.2"},
    precision="fp16",
    environment={},
)
SHAPE = Bucket(1, 32)


def _compile(root: Path, content: bytes = b"program") -> bool:
    with program_folder(root, KEY, SHAPE) as folder:
        program = folder / "model.mxr"
        whole = program.exists()
        if not whole:
            program.write_bytes(content)
        return whole


def test_a_compiled_program_is_kept_for_the_next_start(tmp_path: Path) -> None:
    assert _compile(tmp_path) is False
    assert _compile(tmp_path) is True


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": "b" * 64},
        {"gfx": "gfx90a"},
        {"versions": {"onnxruntime": "1.23.3"}},
        {"precision": "fp32"},
        {"environment": {"MIGRAPHX_DISABLE_MLIR": "1"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_dependency_of_a_program_changes_its_folder(
    tmp_path: Path, change: dict[str, str]
) -> None:
    other = dataclasses.replace(KEY, **change)  # type: ignore[arg-type]
    assert other.folder(tmp_path, SHAPE) != KEY.folder(tmp_path, SHAPE)
    assert KEY.folder(tmp_path, Bucket(8, 32)) != KEY.folder(tmp_path, SHAPE)


def _change(folder: Path) -> None:
    (folder / "model.mxr").write_bytes(b"other")


def _add(folder: Path) -> None:
    (folder / "second.mxr").write_bytes(b"program")


def _remove(folder: Path) -> None:
    (folder / "model.mxr").unlink()


def _spoil(folder: Path) -> None:
    (folder / "programs.json").write_bytes(b"{")


@pytest.mark.parametrize("damage", [_change, _add, _remove, _spoil])
def test_a_changed_folder_is_compiled_again(tmp_path: Path, damage: object) -> None:
    _compile(tmp_path)
    damage(KEY.folder(tmp_path, SHAPE))  # type: ignore[operator]
    assert _compile(tmp_path) is False
    assert _compile(tmp_path) is True


def test_a_failed_compilation_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with program_folder(tmp_path, KEY, SHAPE) as folder:
            (folder / "model.mxr").write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert _compile(tmp_path) is False


def _write_half_and_wait(root: Path) -> None:
    with program_folder(root, KEY, SHAPE) as folder:
        (folder / "model.mxr").write_bytes(b"half")
        time.sleep(60)


def _compile_slowly(root: Path, log: Path) -> None:
    with program_folder(root, KEY, SHAPE) as folder:
        program = folder / "model.mxr"
        whole = program.exists()
        if not whole:
            time.sleep(0.2)
            program.write_bytes(b"program")
        with log.open("a") as stream:
            stream.write("whole\n" if whole else "compiled\n")


def test_a_writer_that_is_killed_half_way_leaves_no_program(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_write_half_and_wait, args=[tmp_path]
    )
    process.start()
    program = KEY.folder(tmp_path, SHAPE) / "model.mxr"
    until = time.monotonic() + 60
    while not program.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert _compile(tmp_path) is False
    assert program.read_bytes() == b"program"


def test_of_two_processes_one_compiles_and_the_other_waits_for_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    processes = [context.Process(target=_compile_slowly, args=[tmp_path, log]) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(log.read_text().split()) == ["compiled", "whole"]
