"""The machine that figures come from, without anything that identifies it or its owner."""

import datetime
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from hazgate.engine.processor import n_processors

# PyTorch and ONNX Runtime choose their matrix kernels by these.
_ISA = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
)
_CPUINFO = Path("/proc/cpuinfo")


def today() -> str:
    """Return the date of a measurement, ISO 8601, UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The facts that a reader needs to judge a figure: processor, memory, system, versions.

    `processors` counts those that this process may use. `isa` lists the processor's instruction
    sets of interest. `is_virtual` is true under a hypervisor.
    """

    cpu: str
    isa: tuple[str, ...]
    processors: int
    memory_gb: float
    is_virtual: bool
    os: str
    versions: Mapping[str, str]

    @property
    def summary(self) -> str:
        """Processor and count in a few words."""
        kind = " (virtual machine)" if self.is_virtual else ""
        return f"{self.cpu}, {self.processors} processor{'s' * (self.processors > 1)}{kind}"


def describe_machine(distributions: Sequence[str]) -> Machine:
    """Describe this machine, with the versions of Python and of `distributions`."""
    cpuinfo = _CPUINFO.read_text(encoding="utf-8") if _CPUINFO.is_file() else ""
    fields = _first_processor(cpuinfo.splitlines())
    # x86 calls them flags, ARM features.
    flags = f"{fields.get('flags', '')} {fields.get('Features', '')}".split()
    return Machine(
        cpu=fields.get("model name") or platform.processor() or platform.machine(),
        isa=tuple(name for name in _ISA if name in flags),
        processors=n_processors(),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        is_virtual="hypervisor" in flags,
        os=_os_name(),
        versions={"python": platform.python_version(), **_versions(distributions)},
    )


def _first_processor(lines: Iterable[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            break
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    return fields


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _versions(distributions: Sequence[str]) -> dict[str, str]:
    found = {name: _version(name) for name in distributions}
    return {name: version for name, version in found.items() if version is not None}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        if distribution != "onnxruntime":
            return None
    # It comes under several names (onnxruntime-rocm, …); the module knows.
    import onnxruntime

    return str(onnxruntime.__version__)
