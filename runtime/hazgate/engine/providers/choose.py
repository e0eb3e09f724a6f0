"""The choice of a provider and of its library: pure decisions over a host's facts."""

from collections.abc import Sequence
from dataclasses import dataclass

from hazgate.engine.providers.host import Host
from hazgate.engine.providers.table import (
    CPU,
    PROVIDERS,
    BuiltIn,
    PlugIn,
    ProviderSpec,
    find_provider,
)
from hazgate.errors import ProviderError

AUTO = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """A provider as it will be used on this host; `gfx` is the architecture of its AMD GPU."""

    spec: ProviderSpec
    source: BuiltIn | PlugIn
    device_id: int = 0
    gfx: str | None = None


def _on_cpu() -> Placement:
    spec = find_provider(CPU)
    assert spec.built_in is not None
    return Placement(spec=spec, source=spec.built_in)


ON_CPU = _on_cpu()


def choose_placement(asked: str | Sequence[str], host: Host, *, device_id: int = 0) -> Placement:
    """Return the first of the requested providers that this host has.

    Only a provider in the caller's list can replace another. "auto" prefers a GPU that is here to
    the CPU. A provider that is here may still not work: the session proves that it does, and an
    error there never falls through to the next provider.

    Args:
        asked: names or aliases in order of preference, or "auto".
        host: what is here.
        device_id: number of the GPU, of several.

    Raises:
        ProviderError: one is unknown, or this host has none of them; gives each one's reason.
    """
    if asked == AUTO:
        specs = [spec for spec in PROVIDERS if spec.gpu is not None or spec.name == CPU]
    else:
        specs = [find_provider(name) for name in ([asked] if isinstance(asked, str) else asked)]
    if not specs:
        raise ProviderError("no execution provider was requested; request cpu, or auto")
    reasons = []
    for spec in specs:
        found = _place(spec, host, device_id)
        if isinstance(found, Placement):
            problems = _overrides(spec, host)
            # On the CPU, with two distributions side by side, either one serves.
            if spec.gpu is not None:
                problems += host_problems(host)
            if problems:
                raise ProviderError(f"{spec.name}: {'; '.join(problems)}")
            return found
        reasons.append(found)
    raise ProviderError("; ".join([*reasons, *host_problems(host)]))


def host_problems(host: Host) -> list[str]:
    """Return what is wrong with the installation for any provider; each with its cure."""
    if len(host.distributions) == 1:
        return []
    if not host.distributions:
        return ["onnxruntime is here, but no distribution of it is installed: install exactly one"]
    listed = ", ".join(f"{name} {version}" for name, version in host.distributions.items())
    return [
        f"{listed} are installed side by side and overwrite each other's files: uninstall all of "
        "them, then install the one for this host"
    ]


def _place(spec: ProviderSpec, host: Host, device_id: int) -> Placement | str:
    """Return the provider, or the reason why it is unavailable on this host."""
    gfx = None
    if spec.gpu == "amd":
        if not host.amd_gpus:
            return (
                f"{spec.name}: no AMD GPU is visible in /sys/class/kfd; in a container pass "
                "/dev/kfd and /dev/dri, and join the groups video and render"
            )
        if not 0 <= device_id < len(host.amd_gpus):
            return f"{spec.name}: device {device_id} of {len(host.amd_gpus)} was requested"
        gfx = host.amd_gpus[device_id]
    if spec.gpu == "nvidia" and not 0 <= device_id < host.nvidia_gpus:
        return f"{spec.name}: device {device_id} of {host.nvidia_gpus} NVIDIA GPUs was requested"
    source = _source(spec, host)
    if isinstance(source, str):
        return source
    return Placement(spec=spec, source=source, device_id=device_id, gfx=gfx)


def _source(spec: ProviderSpec, host: Host) -> BuiltIn | PlugIn | str:
    cures = []
    if spec.plug_in is not None:
        if host.modules(spec.plug_in.module) and host.ort_release >= spec.plug_in.first:
            return spec.plug_in
        cures.append(spec.plug_in.cure)
    if spec.built_in is not None:
        is_here = spec.name in host.built_in
        in_range = spec.built_in.first <= host.ort_release and (
            spec.built_in.last is None or host.ort_release <= spec.built_in.last
        )
        if is_here and in_range:
            return spec.built_in
        if is_here:
            first, last = spec.built_in.first, spec.built_in.last
            return (
                f"{spec.name}: this onnxruntime is {host.ort_version}, and only "
                f"{first[0]}.{first[1]} to {'.'.join(map(str, last or ()))} run this model there; "
                f"{'; or '.join([*cures, spec.built_in.cure])}"
            )
        cures.append(spec.built_in.cure)
    return (
        f"{spec.name} is not in the installed onnxruntime {host.ort_version}, which has "
        f"{', '.join(host.built_in)}: {'; or '.join(cures)}"
    )


def _overrides(spec: ProviderSpec, host: Host) -> list[str]:
    """Return a problem per variable that overrides a session's options, and so a proven program."""
    return [
        f"the environment sets {name}, which overrides hazgate's options: unset it"
        for name in host.environment
        if name.startswith(spec.environment)
    ]
