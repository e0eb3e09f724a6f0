"""An empty home folder, to see what a process writes there by itself."""

from pathlib import Path

from tests.support.processes import run_python

# ONNX Runtime reports nothing where these say that a build service runs it.
_BUILD_SERVICES = {"CI": "", "GITHUB_ACTIONS": "", "TF_BUILD": ""}


def written_at_home(home: Path, code: str, *arguments: str | Path) -> list[str]:
    """Run code at home in an empty folder, as if nobody had set anything; return what it wrote."""
    home.mkdir()
    env = {"HOME": str(home), "XDG_CACHE_HOME": "", "ORT_DISABLE_TELEMETRY": "", **_BUILD_SERVICES}
    done = run_python("-c", code, *arguments, env=env)
    assert done.returncode == 0, done.stderr
    return [str(path.relative_to(home)) for path in home.rglob("*")]
