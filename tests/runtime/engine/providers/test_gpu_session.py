"""A GPU that does not work is an error here, although ONNX Runtime would stay silent.

Each failure is played as it was seen in the wheels or read in the source of ONNX Runtime, by a
stand-in that answers as they do; none was run on a GPU.
"""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hazgate import Bundle, BundleError, Gate, InferenceError, ProviderError
from hazgate.doctor import diagnose
from hazgate.engine.buckets import Bucket
from hazgate.engine.options import EngineOptions, Shapes
from hazgate.engine.providers import choose, host
from hazgate.engine.providers.table import find_provider
from tests.support.damage import edit_manifest, replace_file
from tests.support.scripted_ort import CPU, Script, scripted

MIGRAPHX = "MIGraphXExecutionProvider"
ROCM = "ROCMExecutionProvider"
SHAPES = Shapes(buckets=(Bucket(1, 64), Bucket(4, 64)))
Install = Callable[[Script], Script]


@pytest.fixture
def gpu_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle, whose fp32 variant says that it is for GPUs, too."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))

    def allow(data: dict) -> None:  # type: ignore[type-arg]
        for level in data["levels"].values():
            level["variants"]["fp32"]["execution_providers"] = [CPU, MIGRAPHX, ROCM]
            level["tokenizer"].update(window_tokens=64)

    edit_manifest(bundle, allow)
    return bundle


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Replace onnxruntime by a scripted one, and this host by one with a GPU."""

    def put(script: Script) -> Script:
        monkeypatch.setitem(sys.modules, "onnxruntime", scripted(script))
        monkeypatch.setattr(host, "amd_gpus", lambda _: ("gfx942",))
        monkeypatch.setattr(host, "_installed", lambda names: iter([(names[0], script.version)]))
        return script

    return put


def _open(
    bundle: Path, *, shapes: Shapes = SHAPES, device_id: int = 0, variant: str | None = None
) -> Gate:
    options = EngineOptions(
        variant=variant, providers="migraphx", device_id=device_id, threads=1, shapes=shapes
    )
    return Gate.open(bundle, engine=options)


def test_a_gpu_that_works_serves_what_the_cpu_says(
    gpu_bundle: Path, install: Install, tiny_bundle: Path
) -> None:
    expected = Gate.open(tiny_bundle, engine=EngineOptions(variant="fp32", threads=1))
    texts = ["one", "two words", "and a few words more"] * 3
    want = [verdict.unsafe for verdict in expected.check_many(texts)]
    script = install(Script())
    gate = _open(gpu_bundle)
    assert gate.model.provider == MIGRAPHX
    assert gate.model.variant == "fp32"
    assert [v.unsafe for v in gate.check_many(texts)] == pytest.approx(want, abs=1e-5)
    # Each bucket of a level is compiled once, before the first request.
    assert script.compiled == 2 * 2
    for asked in script.asked:
        assert asked["providers"] == [(MIGRAPHX, {"device_id": "0"})]
        assert asked["fallback"] is False
        assert asked["entries"]["session.disable_cpu_ep_fallback"] == "1"
    assert script.fallback_disabled == len(script.asked)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        # libmigraphx_c.so.3 is not there; with the fallback on it would print and use the CPU.
        (Script(create_error=RuntimeError("Failed to load library libmigraphx_c.so.3")), "libmigr"),
        # ONNX Runtime 1.22, and an unknown option of 1.23: a CPU session without an exception.
        (Script(silent_cpu=True), "runs on"),
        # More than ten refused nodes: the provider is listed and owns none.
        (Script(cpu_ops=["MatMul", "IsNaN"]), "others run IsNaN, MatMul"),
        # The same where ONNX Runtime can only be asked by a profile.
        (Script(version="1.23.2", cpu_ops=["Softmax"]), "others run Softmax"),
        # A dimension of another name is passed over: a program for every shape would be compiled.
        (Script(ignores_overrides=True), "expected inputs fixed to"),
        # A program of other weights, or a compiler's fault.
        (Script(drift=0.5), "not the model that was proven"),
        (Script(drift=float("nan")), "not finite"),
    ],
    ids=["no library", "silent cpu", "refused nodes", "by profile", "dynamic", "drift", "nan"],
)
def test_a_silent_failure_becomes_an_error_with_its_reason(
    gpu_bundle: Path, install: Install, script: Script, words: str
) -> None:
    install(script)
    with pytest.raises((BundleError, InferenceError)) as caught:
        _open(gpu_bundle)
    assert words in str(caught.value)


def test_nodes_of_shapes_may_stay_on_the_cpu_where_a_provider_leaves_them_there(
    gpu_bundle: Path, install: Install
) -> None:
    script = install(Script(name=ROCM, version="1.22.1", cpu_ops=["Shape", "Gather"]))
    gate = Gate.open(gpu_bundle, engine=EngineOptions(providers="rocm", threads=1))
    assert gate.model.provider == ROCM
    assert "session.disable_cpu_ep_fallback" not in script.asked[0]["entries"]
    install(Script(name=ROCM, version="1.22.1", cpu_ops=["Shape", "MatMul"]))
    with pytest.raises(ProviderError, match="others run MatMul"):
        Gate.open(gpu_bundle, engine=EngineOptions(providers="rocm", threads=1))


def test_a_plug_in_is_asked_for_by_its_device_and_never_by_its_name(
    gpu_bundle: Path, install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = install(Script(version="1.29.0", devices=2))
    (tmp_path / "onnxruntime_ep_migraphx.py").write_text(
        f'def get_ep_name(): return "{MIGRAPHX}"\ndef get_library_path(): return "plug_in.so"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    spec = find_provider("migraphx")
    assert spec.plug_in is not None
    # AMD's libraries are not here.
    without = dataclasses.replace(spec, plug_in=dataclasses.replace(spec.plug_in, preloads=()))
    monkeypatch.setattr(choose, "find_provider", lambda _: without)
    monkeypatch.setattr(host, "amd_gpus", lambda _: ("gfx942", "gfx942"))
    gate = _open(gpu_bundle, device_id=1)
    assert gate.model.provider == MIGRAPHX
    for asked in script.asked:
        assert asked["providers"] is None
        # The plug-in takes its device from the option alone.
        assert asked["options"]["device_id"] == "1"
    # A second gate registers nothing again.
    assert _open(gpu_bundle).check("one") is not None
    assert script.registered == [MIGRAPHX]


def test_a_plug_in_that_is_an_empty_placeholder_is_refused_with_the_cure(
    gpu_bundle: Path, install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(Script(version="1.29.0"))
    (tmp_path / "onnxruntime_ep_migraphx.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ProviderError, match="AMD's index"):
        _open(gpu_bundle)


def test_new_weights_under_an_old_name_are_not_answered_by_an_old_program(
    gpu_bundle: Path, install: Install, tmp_path: Path
) -> None:
    script = install(Script(keeps_programs=True))
    shapes = dataclasses.replace(SHAPES, programs=tmp_path / "programs")
    first = _open(gpu_bundle, shapes=shapes).check("one").unsafe
    n_compiled = script.compiled
    # The next start compiles nothing.
    assert _open(gpu_bundle, shapes=shapes).check("one").unsafe == first
    assert script.compiled == n_compiled
    other = Path(shutil.copytree(gpu_bundle, tmp_path / "other"))
    levels = Bundle.open(other).manifest.levels.values()
    # What both levels share is changed once.
    for name in {level.variants["fp32"].data[0] for level in levels}:
        changed = bytearray((other / name).read_bytes())
        changed[-1] ^= 1
        replace_file(other, name, bytes(changed))
    # The stand-in keeps programs by the graph's name, and would answer by the old one.
    _open(other, shapes=shapes)
    assert script.compiled == 2 * n_compiled


def test_a_row_longer_than_every_bucket_is_read_in_windows_that_fit(
    gpu_bundle: Path, install: Install
) -> None:
    install(Script())
    gate = _open(gpu_bundle, shapes=Shapes(buckets=(Bucket(2, 24),)))
    verdict = gate.check("word " * 100)
    assert verdict.tokens.windows > 1
    assert not verdict.truncated


def test_the_doctor_says_what_is_wrong_and_serves_a_bundle_that_is_well(
    gpu_bundle: Path, install: Install
) -> None:
    install(Script())
    well = diagnose(gpu_bundle, EngineOptions(providers="auto", shapes=SHAPES))
    assert well.healthy, well
    named = {check.name: check for check in well.checks}
    assert named["provider"].found == f"{MIGRAPHX} on gfx942, device 0"
    assert "texts within" in named["level1 canaries"].found
    install(Script(silent_cpu=True))
    ill = diagnose(gpu_bundle, EngineOptions(providers="auto", shapes=SHAPES))
    assert not ill.healthy
    assert "runs on" in {c.name: c.found for c in ill.checks if c.status == "fail"}["level1 opens"]


def test_a_bundle_without_a_variant_for_the_gpu_is_refused(
    gpu_bundle: Path, install: Install
) -> None:
    def forbid(data: dict) -> None:  # type: ignore[type-arg]
        for level in data["levels"].values():
            for variant in level["variants"].values():
                variant["execution_providers"] = [CPU]

    edit_manifest(gpu_bundle, forbid)
    install(Script())
    with pytest.raises(BundleError, match="no variant for MIGraphXExecutionProvider"):
        _open(gpu_bundle)


def test_int8_is_not_given_to_a_provider_that_calibrates_it_by_a_table_it_does_not_read(
    gpu_bundle: Path, install: Install
) -> None:
    def allow(data: dict) -> None:  # type: ignore[type-arg]
        for level in data["levels"].values():
            level["variants"]["int8"]["execution_providers"].append(MIGRAPHX)

    edit_manifest(gpu_bundle, allow)
    install(Script())
    with pytest.raises(BundleError, match="'int8' for MIGraphX"):
        _open(gpu_bundle, variant="int8")


def test_canaries_of_the_bundle_are_its_own_reference(gpu_bundle: Path) -> None:
    listed = json.loads((gpu_bundle / "canaries.json").read_text(encoding="utf-8"))
    assert set(listed["levels"]) == {"level1", "level2"}
    assert min(len(c["input_ids"]) for c in listed["levels"]["level1"]) <= 32
