"""The host decides which provider serves, and each refusal gives its reason."""

import dataclasses

import pytest

from hazgate import ProviderError
from hazgate.engine.providers.choose import choose_placement, host_problems
from hazgate.engine.providers.host import Host
from hazgate.engine.providers.table import CPU, PROVIDERS, BuiltIn, PlugIn, find_provider

MIGRAPHX = "MIGraphXExecutionProvider"
BARE = Host(
    distributions={"onnxruntime": "1.32.0"},
    plug_ins={},
    ort_version="1.32.0",
    built_in=(CPU,),
    modules=lambda name: False,
    amd_gpus=(),
    nvidia_gpus=0,
    rocm=None,
    migraphx=(),
    environment={},
)
BUILT_IN = dataclasses.replace(
    BARE,
    distributions={"onnxruntime-migraphx": "1.23.2"},
    ort_version="1.23.2",
    built_in=(MIGRAPHX, CPU),
    amd_gpus=("gfx942", "gfx942"),
)
PLUGGED = dataclasses.replace(
    BARE,
    ort_version="1.29.0",
    modules=lambda name: name == "onnxruntime_ep_migraphx",
    amd_gpus=("gfx942",),
)


def test_auto_takes_a_gpu_that_is_here_and_else_the_cpu() -> None:
    assert choose_placement("auto", BARE).spec.name == CPU
    built_in = choose_placement("auto", BUILT_IN)
    assert (built_in.spec.name, built_in.gfx) == (MIGRAPHX, "gfx942")
    assert isinstance(built_in.source, BuiltIn)
    assert isinstance(choose_placement("auto", PLUGGED).source, PlugIn)
    # Compiled in is not yet there.
    without_gpu = dataclasses.replace(BUILT_IN, amd_gpus=())
    assert choose_placement("auto", without_gpu).spec.name == CPU


def test_the_first_of_a_list_that_the_host_has_is_taken() -> None:
    assert choose_placement(["migraphx", "cpu"], BARE).spec.name == CPU
    assert choose_placement(["migraphx", "cpu"], BUILT_IN).spec.name == MIGRAPHX
    assert choose_placement("CPUExecutionProvider", BUILT_IN).spec.name == CPU


@pytest.mark.parametrize(
    ("asked", "change", "words"),
    [
        ("migraphx", {"amd_gpus": ()}, "/dev/kfd and /dev/dri"),
        ("migraphx", {"built_in": (CPU,)}, "AMD's onnxruntime_migraphx"),
        ("migraphx", {"ort_version": "1.22.1"}, "1.23 to 1.27"),
        ("rocm", {}, "onnxruntime_rocm"),
        ("cuda", {}, "NVIDIA"),
        ("openvino", {}, "onnxruntime-ep-openvino"),
        ("tpu", {}, "known are migraphx"),
        (
            "migraphx",
            {"environment": {"ORT_MIGRAPHX_FP16_ENABLE": "1"}},
            "ORT_MIGRAPHX_FP16_ENABLE, which overrides",
        ),
        (
            "migraphx",
            {"distributions": {"onnxruntime": "1.29.0", "onnxruntime-migraphx": "1.23.2"}},
            "side by side",
        ),
        ("migraphx", {"distributions": {}}, "install exactly one"),
    ],
)
def test_a_provider_that_cannot_serve_is_refused_with_the_cure(
    asked: str, change: dict[str, object], words: str
) -> None:
    host = dataclasses.replace(BUILT_IN, **change)  # type: ignore[arg-type]
    with pytest.raises(ProviderError) as caught:
        choose_placement(asked, host)
    assert words in str(caught.value)


@pytest.mark.parametrize("device_id", [-1, 2])
def test_a_device_that_is_not_there_is_refused(device_id: int) -> None:
    with pytest.raises(ProviderError, match=f"device {device_id} of 2"):
        choose_placement("migraphx", BUILT_IN, device_id=device_id)


def test_variables_that_only_tune_the_compiler_are_no_reason_to_refuse() -> None:
    tuned = dataclasses.replace(BUILT_IN, environment={"MIGRAPHX_DISABLE_MLIR": "1"})
    assert choose_placement("migraphx", tuned).spec.name == MIGRAPHX


def test_an_empty_request_is_an_error_and_every_name_is_unique() -> None:
    with pytest.raises(ProviderError, match="request cpu"):
        choose_placement([], BARE)
    for spec in PROVIDERS:
        assert find_provider(spec.alias) == find_provider(spec.name.upper()) == spec
    assert host_problems(BARE) == []
