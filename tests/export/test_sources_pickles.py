"""Pickled weights: plain tensors are converted, anything else is refused before it is read."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hazgate.documents.files import sha256
from hazgate_export.errors import SourceError
from hazgate_export.model import pickles, unpickle
from hazgate_export.model.globals import foreign_globals
from hazgate_export.model.pickles import convert_pickle


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HAZGATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _tensors() -> dict[str, torch.Tensor]:
    tied = torch.randn(6, 4)
    state = OrderedDict(
        embeddings=tied,
        decoder=tied,
        slice=torch.randn(10)[2:5],
        transposed=torch.randn(3, 4).T,
        half=torch.randn(3).half(),
        bfloat=torch.randn(3).bfloat16(),
        parameter=torch.nn.Parameter(torch.ones(2)),
        ids=torch.arange(4),
        flag=torch.tensor(True),
        empty=torch.zeros(0, 3),
    )
    # state_dict() carries versions of its modules like this.
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    return state


def _save(state: object, file: Path, *, legacy: bool = False) -> Path:
    torch.save(state, file, _use_new_zipfile_serialization=not legacy)
    return file


class Harmful:
    """An object whose pickle runs a command when it is read."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_both_forms_come_out_as_they_went_in(tmp_path: Path, legacy: bool) -> None:
    state = _tensors()
    file = _save(state, tmp_path / "pytorch_model.bin", legacy=legacy)
    made = convert_pickle(file, subject="test")
    assert made.pickle_sha256 == sha256(file)
    assert made.sha256 == sha256(made.file)
    converted = load_file(made.file)
    assert converted.keys() == state.keys()
    for name, tensor in state.items():
        assert converted[name].dtype == tensor.dtype
        assert torch.equal(converted[name], tensor)


def test_a_conversion_stays_in_the_cache_until_it_is_damaged(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Mapping[str, str]] = []
    run = subprocess.run

    def spy(*arguments: object, **options: object) -> object:
        started.append(options["env"])  # type: ignore[arg-type]
        return run(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(subprocess, "run", spy)
    file = _save(_tensors(), tmp_path / "pytorch_model.bin")
    made = convert_pickle(file, subject="test")
    assert made.file.is_relative_to(cache)
    assert made.pickle_sha256 in str(made.file)
    record = json.loads((made.file.parent / "converted.json").read_bytes())
    assert {"resource limits", "audit hook"} <= set(record["locks"])
    assert not any("hf_secret" in value for value in started[0].values())

    assert convert_pickle(file, subject="test") == made
    assert len(started) == 1
    made.file.write_bytes(made.file.read_bytes()[:-1])
    assert convert_pickle(file, subject="test") == made
    assert len(started) == 2
    assert sha256(made.file) == made.sha256


def _protocol_4(trace: Path) -> bytes:
    return pickle.dumps({"x": Harmful(trace)}, protocol=4)


def _extension(_: Path) -> bytes:
    return b"\x80\x02\x82\x01."


def _computed(_: Path) -> bytes:
    # STACK_GLOBAL of names that come out of a dictionary's memo, not in plain sight.
    return b"\x80\x04}\x94N\x93."


@pytest.mark.parametrize("legacy", [False, True])
def test_a_global_beyond_tensors_is_refused_by_name_and_nothing_runs(
    tmp_path: Path, cache: Path, legacy: bool
) -> None:
    state = {"weight": torch.ones(2), "x": Harmful(tmp_path / "trace")}
    file = _save(state, tmp_path / "pytorch_model.bin", legacy=legacy)
    with pytest.raises(SourceError, match=r"would import posix\.system when it is read"):
        convert_pickle(file, subject="test")
    assert not (tmp_path / "trace").exists()
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (_protocol_4, "posix.system"),
        (_extension, "copyreg.extension.1"),
        (_computed, "a.name.that.the.pickle.computes"),
    ],
)
def test_newer_opcodes_hide_no_global(tmp_path: Path, make: object, found: str) -> None:
    file = _save({"weight": torch.ones(2)}, tmp_path / "plain.bin")
    spoilt = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(spoilt, "w") as target:
        for name in source.namelist():
            data = make(tmp_path) if name.endswith("data.pkl") else source.read(name)  # type: ignore[operator]
            target.writestr(name, data)
    assert foreign_globals(spoilt) == [found]


def test_a_whole_pickled_model_and_a_pickle_of_training_arguments_are_refused(
    tmp_path: Path,
) -> None:
    whole = _save(torch.nn.Linear(2, 2), tmp_path / "model.bin")
    with pytest.raises(SourceError, match=r"torch\.nn\.modules\.linear\.Linear"):
        convert_pickle(whole, subject="test")


def test_anything_but_a_mapping_of_tensors_is_refused(tmp_path: Path, cache: Path) -> None:
    file = _save({"weight": torch.ones(2), "epoch": 3}, tmp_path / "pytorch_model.bin")
    with pytest.raises(SourceError, match=r"cannot be read as plain tensors .*\['epoch'\]"):
        convert_pickle(file, subject="test")
    assert not list((cache / "weights").iterdir())


@pytest.mark.parametrize(
    "state",
    [
        [torch.ones(2)],
        {},
        {1: torch.ones(2)},
        {"sparse": torch.eye(2).to_sparse()},
        {"without memory": torch.ones(2, device="meta")},
    ],
)
def test_no_other_object_counts_as_plain_tensors(state: object) -> None:
    with pytest.raises((TypeError, ValueError), match="expected a mapping of"):
        unpickle._plain(state)


def test_torch_refuses_what_the_list_of_globals_overlooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _save({"x": Harmful(tmp_path / "trace")}, tmp_path / "pytorch_model.bin")
    monkeypatch.setattr(pickles, "foreign_globals", lambda _: [])
    with pytest.raises(SourceError, match="weights_only"):
        convert_pickle(file, subject="test")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kept", [0.0, 0.98])
def test_a_file_that_was_cut_off_is_refused_and_leaves_nothing(
    tmp_path: Path, cache: Path, legacy: bool, kept: float
) -> None:
    state = {"weight": torch.randn(64, 64), "bias": torch.randn(64)}
    file = _save(state, tmp_path / "pytorch_model.bin", legacy=legacy)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SourceError, match="download it again"):
        convert_pickle(file, subject="test")
    assert not list(cache.rglob("*.*"))


# Each line is tried in a process that has locked itself in, by Python and past Python.
_ATTEMPTS = """
import ctypes, os, socket, subprocess, sys
sys.path.insert(0, {folder!r})
import unpickle
libc = ctypes.CDLL(None, use_errno=True)
locks = unpickle.lock_in({own!r}, 1000)
open({own!r} + "/allowed", "w").close()
def attempt(name, action):
    try:
        result = action()
    except OSError:
        return
    if result is None or result >= 0:
        print(name)
attempt("socket", lambda: socket.socket() and None)
attempt("libc socket", lambda: libc.socket(2, 1, 0))
attempt("subprocess", lambda: subprocess.run(["true"]) and None)
attempt("libc execve", lambda: libc.execve(b"/bin/true", None, None))
attempt("write outside", lambda: open({other!r}, "w").close())
flags = os.O_WRONLY | os.O_CREAT
attempt("libc write outside", lambda: libc.open({other!r}.encode(), flags, 0o600))
attempt("remove outside", lambda: os.remove({kept!r}))
attempt("libc remove outside", lambda: libc.unlink({kept!r}.encode()))
print(*locks, sep=",")
"""


def test_the_reader_has_no_network_no_programs_and_one_folder(tmp_path: Path) -> None:
    own, kept = tmp_path / "own", tmp_path / "kept"
    own.mkdir()
    kept.touch()
    script = _ATTEMPTS.format(
        folder=str(Path(unpickle.__file__).parent),
        own=str(own.resolve()),
        other=str(tmp_path / "other"),
        kept=str(kept),
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    *succeeded, locks = done.stdout.splitlines()
    assert {"resource limits", "audit hook"} <= set(locks.split(","))
    assert (own / "allowed").exists()
    # What goes past Python is only held where the kernel offers it; the record then says so.
    if "landlock" in locks and "seccomp" in locks:
        assert succeeded == []
    assert not [name for name in succeeded if not name.startswith("libc")]
    assert kept.exists()
