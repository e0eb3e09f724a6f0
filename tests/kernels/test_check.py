"""The kernels without ONNX Runtime: under sanitizers and under emulation."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "runtime" / "kernels"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("c++")), reason="no CMake, or no C++ compiler"
    ),
]


def _build(folder: Path, *options: str) -> Path:
    """Build the check program with CMake's `options`."""
    target = ["--target", "hazgate_kernels_check", "--parallel", "2"]
    for command in (
        ["cmake", "-S", str(SOURCE), "-B", str(folder), "-DHAZGATE_CHECK=ON", *options],
        ["cmake", "--build", str(folder), *target],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "warning:" not in done.stderr
    return folder / "hazgate_kernels_check"


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_sanitizers_find_nothing(tmp_path: Path, sanitizers: str) -> None:
    check = _build(
        tmp_path, f"-DHAZGATE_SANITIZE={sanitizers}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"
    )
    assert "portable: checked" in _run(str(check))


@pytest.mark.skipif(
    not (shutil.which("aarch64-linux-gnu-g++") and shutil.which("qemu-aarch64")),
    reason="needs Debian's g++-aarch64-linux-gnu and qemu-user",
)
def test_arm_computes_the_same_under_emulation(tmp_path: Path) -> None:
    check = _build(
        tmp_path,
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
    )
    checked = _run("qemu-aarch64", str(check)).splitlines()
    assert checked == ["i8mm: checked", "neon: checked", "portable: checked"]


@pytest.mark.skipif(
    "avx512_vnni" not in Path("/proc/cpuinfo").read_text(), reason="needs AVX-512 with VNNI"
)
def test_amx_kernels_compute_the_same_with_loops_for_their_instructions(tmp_path: Path) -> None:
    """No emulator knows AMX, so loops replace its instructions."""
    check = _build(tmp_path, "-DHAZGATE_AMX_IN_SOFTWARE=ON")
    assert "amx: checked" in _run(str(check))
