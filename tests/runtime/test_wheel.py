"""The built wheel, alone in an empty environment, is all that a gateway needs."""

import json
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from hazgate import Gate, Verdict, __version__
from hazgate.engine.options import EngineOptions
from tests.support.processes import run

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
TEXT = "How to hack into someone's email account"
CHECK = """
import json, sys
from hazgate import EngineOptions, Gate
gate = Gate.open(sys.argv[1], engine=EngineOptions(threads=1))
print(json.dumps(gate.check(sys.argv[2]).to_dict()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
        *("--outdir", folder, ROOT / "runtime"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and an onnxruntime, and nothing of this one."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, symlinks=True)
    _install(folder, wheel, "onnxruntime")
    return folder


def _install(environment: Path, *what: str | Path) -> None:
    pip = (sys.executable, "-m", "pip", "--python", environment / "bin" / "python")
    options = ("--quiet", "--disable-pip-version-check", "--no-compile")
    done = run(*pip, "install", *options, "--constraint", CONSTRAINTS, *what)
    assert done.returncode == 0, done.stderr


def _packages(environment: Path) -> set[str]:
    code = (
        "from importlib.metadata import distributions\n"
        "print(*(d.metadata['Name'].lower().replace('_', '-') for d in distributions()))"
    )
    done = run(environment / "bin" / "python", "-I", "-c", code)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_wheel_holds_the_package_and_its_metadata_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = ROOT / "runtime" / "hazgate"
    page = sources / "serving" / "http" / "playground.html"
    tables = [sources / "text" / "views" / name for name in ("confusables.tsv", "trigrams.bin")]
    data = [*sources.glob("judging/taxonomies/*.json"), page, *tables]
    package = {
        f"hazgate/{path.relative_to(sources).as_posix()}"
        for path in (*sources.rglob("*.py"), *data)
    }
    assert "hazgate/judging/taxonomies/openai.json" in package
    info = f"hazgate-{__version__}.dist-info"
    metadata = {
        f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")
    } | {f"{info}/licenses/LICENSE"}
    assert names == package | {"hazgate/py.typed"} | metadata


def test_a_bare_environment_classifies_from_python_then_asks_for_the_extra_then_has_a_command(
    bare: Path, wheel: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    expected = Gate.open(tiny_bundle, engine=EngineOptions(threads=1)).check(TEXT)
    packages = _packages(bare)
    assert {"hazgate", "onnxruntime", "tokenizers", "numpy"} <= packages
    assert not packages & {"torch", "transformers", "onnx", "peft", "optimum", "click", "rich"}

    # Another working directory, isolated mode: nothing comes from this checkout.
    done = run(bare / "bin" / "python", "-I", "-c", CHECK, tiny_bundle, TEXT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _check_same(done.stdout, expected)

    command = (bare / "bin" / "hazgate", "classify", tiny_bundle, "--threads", "1", TEXT)
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "the command line needs click: pip install 'hazgate[cli]'\n"

    _install(bare, f"{wheel}[cli]")
    assert not _packages(bare) & {"torch", "transformers", "onnx"}
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _check_same(done.stdout, expected)


def _check_same(printed: str, expected: Verdict) -> None:
    """Compare a printed verdict; this host's own onnxruntime may be another distribution."""
    verdict = json.loads(printed)
    assert verdict["unsafe"] == pytest.approx(expected.unsafe, abs=1e-3)
    told = expected.to_dict()
    for field in ("flagged", "hazard", "tokens", "truncated", "model"):
        assert verdict[field] == told[field]
