"""`hazgate kserve` where KServe's SDK is not: this project's own environment cannot have it."""

from tests.support.processes import run_python


def test_who_lacks_the_sdk_is_told_what_to_install() -> None:
    done = run_python("-m", "hazgate", "kserve", "bundle")
    assert done.returncode == 1
    assert "pip install 'hazgate-scale[kserve]'" in done.stderr
