"""Facts about ONNX Runtime's execution providers, as data with sources.

Sources: ONNX Runtime's release notes and its repository (microsoft/onnxruntime#25181 removed the
ROCm provider), AMD's onnxruntime-ep-amdgpu documentation, and tries of the published wheels on a
host without a GPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hazgate.errors import ProviderError

Precision = Literal["fp32", "fp16", "bf16", "int8"]
Version = tuple[int, int]

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltIn:
    """A provider compiled into some ONNX Runtime distributions.

    `first` and `last` bound the releases that can have it. `options` are set on every session;
    `device_option` takes the device's number, `cache_option` the folder of compiled programs.
    """

    first: Version
    last: Version | None
    cure: str
    device_option: str | None = None
    cache_option: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlugIn:
    """A provider in a library of its own, registered with a stock ONNX Runtime.

    `module` is the Python package that knows the library's path. The library must be registered
    under the provider's own name, or its options are not found.
    """

    module: str
    first: Version
    cure: str
    device_option: str | None = None
    cache_option: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    # Libraries to load first: the package's own search path is that of the machine it was built on.
    preloads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderSpec:
    """One execution provider.

    Attributes:
        name: ONNX Runtime's name for it.
        alias: the short name that people type.
        precisions: precisions of the variants that suit it, best first.
        static_shapes: True if it compiles one program per shape, so that shapes must be few and
            fixed before a session is opened.
        owns_shapes: True if it also runs the arithmetic of shapes; if it leaves that to the CPU
            by design, the session must allow the CPU.
        gpu: the maker of the GPU that it needs; None if it runs on any host.
        built_in: the ONNX Runtime releases that contain it, if any do.
        plug_in: the library that contains it, if there is one.
        environment: prefixes of environment variables that override what a session asks for.
    """

    name: str
    alias: str
    precisions: tuple[Precision, ...]
    static_shapes: bool = False
    owns_shapes: bool = True
    gpu: Literal["amd", "nvidia"] | None = None
    built_in: BuiltIn | None = None
    plug_in: PlugIn | None = None
    environment: tuple[str, ...] = ()


PROVIDERS: tuple[ProviderSpec, ...] = (
    ProviderSpec(
        name="MIGraphXExecutionProvider",
        alias="migraphx",
        # Its int8 needs a calibration table, which it does not read from the graph.
        precisions=("fp16", "bf16", "fp32"),
        static_shapes=True,
        gpu="amd",
        built_in=BuiltIn(
            # Earlier releases refuse LayerNormalization, and the provider takes no node of a
            # graph with more than ten refused ones.
            first=(1, 23),
            last=(1, 27),
            cure="install AMD's onnxruntime_migraphx of your ROCm release, and ROCm's migraphx",
            device_option="device_id",
            cache_option="migraphx_model_cache_dir",
        ),
        plug_in=PlugIn(
            module="onnxruntime_ep_migraphx",
            first=(1, 29),
            cure="install onnxruntime and onnxruntime-ep-migraphx from AMD's index for ROCm 10 "
            "(the package of that name on PyPI is empty)",
            device_option="device_id",
            cache_option="cache_dir",
            preloads=("libonnxruntime.so.1", "libmigraphx_c.so.3"),
        ),
        environment=("ORT_MIGRAPHX_",),
    ),
    ProviderSpec(
        name="ROCMExecutionProvider",
        alias="rocm",
        precisions=("fp16", "fp32"),
        owns_shapes=False,
        gpu="amd",
        built_in=BuiltIn(
            first=(1, 18),
            last=(1, 22),
            cure="install AMD's onnxruntime_rocm of ROCm 6.2 to 7.0; later releases have MIGraphX "
            "instead",
            device_option="device_id",
        ),
    ),
    ProviderSpec(
        name="CUDAExecutionProvider",
        alias="cuda",
        precisions=("fp16", "fp32"),
        owns_shapes=False,
        gpu="nvidia",
        built_in=BuiltIn(
            first=(1, 18), last=None, cure="install onnxruntime-gpu", device_option="device_id"
        ),
    ),
    ProviderSpec(
        name="OpenVINOExecutionProvider",
        alias="openvino",
        precisions=("fp32", "fp16"),
        plug_in=PlugIn(
            module="onnxruntime_ep_openvino",
            first=(1, 23),
            cure="install onnxruntime-ep-openvino",
        ),
    ),
    ProviderSpec(
        name=CPU,
        alias="cpu",
        precisions=("fp32", "int8", "fp16"),
        built_in=BuiltIn(first=(1, 20), last=None, cure="install onnxruntime"),
    ),
)


def find_provider(name: str) -> ProviderSpec:
    """Return the provider of that name or alias, in upper or lower case.

    Raises:
        ProviderError: the table has none.
    """
    for spec in PROVIDERS:
        if name.lower() in (spec.name.lower(), spec.alias):
            return spec
    raise ProviderError(
        f"{name!r} is not a known execution provider; known are "
        f"{', '.join(spec.alias for spec in PROVIDERS)}"
    )
