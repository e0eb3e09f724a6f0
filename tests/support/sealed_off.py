"""A command in a network namespace of its own, watched by strace: what it reached, what it wrote.

The namespace has a loopback and nothing else. A connection to any other address is seen although
nothing answers there, and so is every file that was made, opened for writing or renamed.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_CALLS = (
    *("connect", "bind", "sendto", "sendmsg", "sendmmsg"),
    *("open", "openat", "creat", "truncate", "mkdir", "mkdirat", "mknod", "mknodat"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
)
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_OPENED = re.compile(r"^(?:open|openat|creat)\(.*= \d+<([^>]+)>$")
_MADE = re.compile(r"^(?:truncate|mk\w+|rename\w*|link\w*|symlink\w*)\(.*= 0$")
_FOLDER, _QUOTED = re.compile(r"AT_FDCWD<([^>]+)>"), re.compile(r'"([^"]*)"')
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC")
# Devices, shared memory and a process's own switches are no files that stay.
_NO_FILES = ("/dev/", "/proc/")
_TIMEOUT_S = 300

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "strace"))),
    reason="needs root, unshare, ip and strace",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """Record of what a command and its children did.

    Attributes:
        code: exit code.
        output: standard output and error.
        reached: calls with an address beyond the loopback.
        written: files and folders that were made or opened for writing, in alphabetical order.
    """

    code: int
    output: str
    reached: Sequence[str]
    written: Sequence[str]

    def outside(self, *folders: Path) -> list[str]:
        """Return what was written outside of folders."""
        allowed = tuple(f"{folder.resolve()}/" for folder in folders)
        return [file for file in self.written if not f"{file}/".startswith(allowed)]


def run_sealed_off(
    *command: str | Path, traces: Path, env: Mapping[str, str], cwd: Path
) -> Watched:
    """Run a command in a network namespace that has a loopback only.

    Args:
        command: program and arguments.
        traces: folder for strace's files; it is made.
        env: all variables of the command.
        cwd: working directory.
    """
    traces.mkdir()
    watch = ["strace", "-ff", "-qq", "-y", "-s", "4096", "-e", f"trace={','.join(_CALLS)}"]
    own = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh", *watch, "-o", str(traces / "trace")]
    done = subprocess.run(
        ["unshare", "--net", *own, *(os.fspath(part) for part in command)],
        cwd=cwd,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    calls = [
        line
        for file in sorted(traces.iterdir())
        for line in file.read_text(errors="replace").splitlines()
    ]
    assert calls, done.stdout
    return Watched(
        code=done.returncode,
        output=done.stdout,
        reached=[call for call in calls if _leaves(call)],
        written=sorted(set(_written(calls))),
    )


def python_at_home(folder: Path, *arguments: str | Path, **env: str) -> Watched:
    """Run this environment's Python in a folder with a home and a place for temporary files.

    Args:
        folder: gets `home`, `temporary` and strace's files.
        arguments: of Python.
        env: variables to add.
    """
    for name in ("home", "temporary"):
        (folder / name).mkdir()
    return run_sealed_off(
        sys.executable,
        *arguments,
        traces=folder / "traces",
        cwd=folder,
        env={
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "temporary"),
            "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path[1:]]),
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        },
    )


def check_stays(watched: Watched, folder: Path, *asked_for: Path) -> None:
    """Check that a Python at home reached nobody, and wrote only what it was asked for."""
    assert watched.code == 0, watched.output
    assert list(watched.reached) == []
    assert watched.outside(folder / "temporary", *asked_for) == []


def _leaves(call: str) -> bool:
    addresses = [v4 or v6 for v4, v6 in _ADDRESS.findall(call)]
    # "unspecified" is every address of the host.
    return any(not ip_address(_plain(address)).is_loopback for address in addresses)


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:") if "." in address else address


def _written(calls: Sequence[str]) -> Iterator[str]:
    for call in calls:
        opened = _OPENED.match(call)
        if opened and any(flag in call for flag in _WRITING):
            file = opened[1]
        elif _MADE.match(call):
            folder = _FOLDER.findall(call)
            name = _QUOTED.findall(call)[-1]
            file = os.path.normpath(os.path.join(folder[-1] if folder else "/", name))  # noqa: PTH118
        else:
            continue
        if not file.startswith(_NO_FILES):
            yield file
