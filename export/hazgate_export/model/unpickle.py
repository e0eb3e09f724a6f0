"""Converts a PyTorch checkpoint to safetensors; run as a script, in a process of its own.

    python unpickle.py IN.bin OUT_FOLDER

Locks itself in before it reads a byte of the file, then writes OUT_FOLDER/model.safetensors.
Standard output has one line of JSON: {"locks": [...]} with what holds on this system, and "error"
if the file cannot be converted. Imports nothing of hazgate.
"""

import ctypes
import json
import os
import platform
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_LANDLOCK_VERSION = 1
# Every right to change files, by the kernel's interface version that brought it.
_WRITES = 0b1111111110010
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_BIND_TCP, _CONNECT_TCP = 1, 2
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_FILTER, _SECCOMP_TSYNC = 1, 1
# By machine: its audit architecture, and the numbers of seccomp and of the refused calls: socket,
# connect, execve, execveat, ptrace, process_vm_writev, pidfd_getfd, io_uring_setup.
_MACHINES = {
    "x86_64": (0xC000003E, 317, (41, 42, 59, 322, 101, 311, 438, 425)),
    "aarch64": (0xC00000B7, 277, (198, 203, 221, 281, 117, 271, 438, 425)),
}
# Calls of the x32 interface carry this bit and would pass by their other numbers.
_X32 = 0x40000000
_REFUSED = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system")
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod")
_MEMORY_FACTOR, _SPARE_BYTES = 4, 2 << 30
_CPU_S = 1800


def _forbid_by_audit(folder: str) -> str:
    """Refuse sockets, processes and writes outside `folder` in this interpreter."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(f"{event} is not allowed while a checkpoint is read")
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and isinstance(path, (str, bytes)) and not _is_inside(path, folder):
                raise PermissionError("a file outside the folder would be written")
        if event.startswith(_CHANGES):
            paths = [path for path in arguments if isinstance(path, (str, bytes))]
            if not all(_is_inside(path, folder) for path in paths):
                raise PermissionError("a file outside the folder would be changed")

    sys.addaudithook(hook)
    return "audit hook"


def _is_inside(path: str | bytes, folder: str) -> bool:
    return os.path.realpath(os.fsdecode(path)).startswith(folder + os.sep)


def _limit_resources(size_bytes: int) -> str | None:
    """Bound processor time, and memory and files by the size of the checkpoint."""
    if sys.platform == "win32":
        return None
    import resource

    room = _MEMORY_FACTOR * size_bytes + _SPARE_BYTES
    limits = {
        resource.RLIMIT_FSIZE: room,
        resource.RLIMIT_CPU: _CPU_S,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a bare script
            limits[resource.RLIMIT_AS] = int(file.read().split()[0]) * resource.getpagesize() + room
    for limit, wanted in limits.items():
        _, hard = resource.getrlimit(limit)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (value, value))
    return "resource limits"


def _lock_files(libc: ctypes.CDLL, folder: str) -> str | None:
    """Allow changes of files below `folder` only, and no TCP, by Landlock (Linux 5.13)."""
    version = libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_VERSION)
    if version < 1:
        return None
    writes = _WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    network = _BIND_TCP | _CONNECT_TCP if version >= 4 else 0
    attributes = struct.pack("=QQ", writes, network)[: 16 if version >= 4 else 8]
    rules = libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return None
    place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        beneath = struct.pack("=Qi", writes, place)
        added = libc.syscall(_LANDLOCK_ADD, rules, 1, beneath, 0)
        if added != 0 or libc.syscall(_LANDLOCK_RESTRICT, rules, 0) != 0:
            return None
    finally:
        os.close(place)
        os.close(rules)
    return "landlock"


def _lock_calls(libc: ctypes.CDLL) -> str | None:
    """Refuse sockets and new programs in every thread, by seccomp."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    architecture, seccomp, calls = machine
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    kill, deny, allow = 0x80000000, 0x00050000 | 1, 0x7FFF0000

    def instruction(code: int, true: int, false: int, value: int) -> bytes:
        return struct.pack("=HBBI", code, true, false, value)

    program = [
        instruction(load, 0, 0, 4),
        instruction(equal, 1, 0, architecture),
        instruction(answer, 0, 0, kill),
        instruction(load, 0, 0, 0),
    ]
    if platform.machine() == "x86_64":
        program.append(instruction(at_least, len(calls) + 1, 0, _X32))
    for i, call in enumerate(calls):
        program.append(instruction(equal, len(calls) - i, 0, call))
    program += [instruction(answer, 0, 0, allow), instruction(answer, 0, 0, deny)]
    text = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(
        struct.pack("=HxxxxxxQ", len(program), ctypes.addressof(text))
    )
    done = libc.syscall(seccomp, _SECCOMP_FILTER, _SECCOMP_TSYNC, header)
    return "seccomp" if done == 0 else None


def lock_in(folder: str, size_bytes: int) -> list[str]:
    """Give up network, programs and files outside `folder`; return what holds here."""
    locks: list[str | None] = [_limit_resources(size_bytes)]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        locks += [_lock_files(libc, folder), _lock_calls(libc)]
    # Last, because it forbids what the others need.
    locks.append(_forbid_by_audit(folder))
    return [lock for lock in locks if lock]


def main(source: str, folder: str) -> None:
    """Convert the checkpoint `source` to `folder`/model.safetensors."""
    import torch
    from safetensors.torch import save_file

    folder = os.path.realpath(folder)
    report: dict[str, object] = {"locks": lock_in(folder, Path(source).stat().st_size)}
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
        save_file(_plain(state), f"{folder}/model.safetensors", {"format": "pt"})
    except Exception as error:
        report["error"] = f"{type(error).__name__}: {error}"[:2000]
    json.dump(report, sys.stdout)


def _plain(state: object) -> "dict[str, torch.Tensor]":
    """Return the tensors by name, each with memory of its own."""
    import torch

    if not isinstance(state, dict):
        raise TypeError(f"expected a mapping of tensors, got {type(state).__name__}")
    foreign = [
        str(name)[:80]
        for name, tensor in state.items()
        if not isinstance(name, str)
        or not isinstance(tensor, torch.Tensor)
        or tensor.layout != torch.strided
        or tensor.is_quantized
        or tensor.device.type != "cpu"
    ]
    if foreign or not state:
        raise ValueError(f"expected a mapping of plain tensors, got others in {foreign[:5]}")
    plain: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        storage = tensor.untyped_storage()
        whole = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes
        # safetensors stores no memory twice; each of two tied weights gets a copy of its own.
        whole = whole and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        plain[name] = tensor.detach() if whole else tensor.detach().clone().contiguous()
    return plain


if __name__ == "__main__":
    main(*sys.argv[1:])
