"""Facts about this host: ONNX Runtime distributions, GPUs, variables that change programs."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.engine.providers.table import Version

# All of them write to site-packages/onnxruntime.
_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-qnn",
)
# Providers in separate libraries, installed next to one of those.
_PLUG_INS = ("onnxruntime-ep-migraphx", "onnxruntime-ep-openvino", "migraphx", "migraphx-libs")
_KFD = Path("/sys/class/kfd/kfd/topology/nodes")
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_ROCM_VERSION = Path("/opt/rocm/.info/version")
_ROCM_LIBRARIES = Path("/opt/rocm/lib")


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """Facts about one host that decide which execution provider it can use.

    Attributes:
        distributions: ONNX Runtime distributions that are installed, with their versions.
        plug_ins: distributions of provider libraries, with theirs.
        ort_version: version of the onnxruntime that is imported.
        built_in: the providers compiled into it, whether or not their hardware is here.
        modules: returns True if a Python package is installed, without importing it.
        amd_gpus: architectures of AMD's GPUs, e.g. "gfx942", in the order of their device ids.
        nvidia_gpus: number of NVIDIA's GPUs.
        rocm: the version of ROCm, None if there is none.
        migraphx: files of MIGraphX's library, whose names end in its version.
        environment: environment variables whose names contain MIGRAPHX_.
    """

    distributions: Mapping[str, str]
    plug_ins: Mapping[str, str]
    ort_version: str
    built_in: tuple[str, ...]
    modules: Callable[[str], bool]
    amd_gpus: tuple[str, ...]
    nvidia_gpus: int
    rocm: str | None
    migraphx: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def ort_release(self) -> Version:
        """Major and minor version of ONNX Runtime."""
        major, minor, *_ = self.ort_version.split(".")
        return int(major), int(minor)


def this_host(ort_version: str, built_in: tuple[str, ...]) -> Host:
    """Collect the facts; the caller gives what ONNX Runtime says about itself."""
    return Host(
        distributions=dict(_installed(_DISTRIBUTIONS)),
        plug_ins=dict(_installed(_PLUG_INS)),
        ort_version=ort_version,
        built_in=built_in,
        modules=lambda name: importlib.util.find_spec(name) is not None,
        amd_gpus=amd_gpus(_KFD),
        nvidia_gpus=len(list(_NVIDIA.iterdir())) if _NVIDIA.is_dir() else 0,
        rocm=_first_line(_ROCM_VERSION),
        migraphx=tuple(sorted(file.name for file in _ROCM_LIBRARIES.glob("libmigraphx_c.so.*"))),
        environment={
            name: value for name, value in sorted(os.environ.items()) if "MIGRAPHX_" in name
        },
    )


def amd_gpus(topology: Path) -> tuple[str, ...]:
    """Return the architectures of the GPUs in the kernel driver's topology, in its order.

    Needs no ROCm tool: a node's `gfx_target_version` is major * 10000 + minor * 100 + stepping,
    90402 for gfx942; processors have 0.
    """
    found = []
    nodes = sorted(topology.glob("*/properties"), key=lambda file: int(file.parent.name))
    for file in nodes:
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name == "gfx_target_version" and int(value):
                number = int(value)
                major, minor, stepping = number // 10_000, number // 100 % 100, number % 100
                found.append(f"gfx{major}{minor:x}{stepping:x}")
    return tuple(found)


def _installed(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    # Imported here because `import hazgate` does not need it.
    import importlib.metadata

    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _first_line(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError):
        return None
