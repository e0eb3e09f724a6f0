"""The kernels under sanitizers and under emulation, and hostile graphs under sanitizers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "runtime" / "kernels"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("cmake") and shutil.which("c++")), reason="no CMake, or no C++ compiler"
    ),
]


_SANITIZERS = "address,undefined,float-cast-overflow"


def _build(folder: Path, *options: str, target: str = "hazgate_kernels_check") -> Path:
    """Build the check program, or the library, with CMake's `options`."""
    built = ["--target", target, "--parallel", "2"]
    for command in (
        ["cmake", "-S", str(SOURCE), "-B", str(folder), "-DHAZGATE_CHECK=ON", *options],
        ["cmake", "--build", str(folder), *built],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "warning:" not in done.stderr
    return next(folder.glob(f"*{target}*"))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("sanitizers", [_SANITIZERS, "thread"])
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


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library itself under sanitizers; the installed one stays as it is."""
    folder = tmp_path_factory.mktemp("sanitized")
    return _build(
        folder,
        f"-DHAZGATE_SANITIZE={_SANITIZERS}",
        # Compiles in a tenth of the time.
        "-DCMAKE_BUILD_TYPE=Debug",
        target="hazgate_kernels",
    )


def _runtimes() -> str:
    """Return the sanitizers' own libraries, which must be loaded before Python's."""
    names = ("libasan.so", "libubsan.so")
    found = [_run("c++", f"-print-file-name={name}").strip() for name in names]
    assert all(Path(each).is_absolute() for each in found), found
    return ":".join(found)


@pytest.mark.parametrize(
    ("instruction_set", "seed", "count"), [("", 1, 3000), ("avx2", 2, 1000), ("portable", 3, 1000)]
)
def test_hostile_graphs_are_answered_or_refused(
    sanitized: Path, instruction_set: str, seed: int, count: int
) -> None:
    if instruction_set == "avx2" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no avx2")
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.fuzz_kernels", sanitized, str(seed), str(count)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_PRELOAD": _runtimes(),
            # Python and ONNX Runtime keep memory until they end.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONMALLOC": "malloc",
            "HAZGATE_KERNELS_ISA": instruction_set,
        },
    )
    assert done.returncode == 0, done.stderr[-6000:]
    seen = json.loads(done.stdout)
    # A fuzz whose graphs all run, or are all refused, looks at one half of the code.
    for op_type in ("Linear", "Attention", "Mean", "Dense"):
        for outcome in ("ran", "refused"):
            assert seen.get(f"{op_type} {outcome}", 0) >= count / 25, seen
