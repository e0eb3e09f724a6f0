"""Two drivers on one output exclude each other."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hazgate.cli.group import cli
from hazgate.errors import OutputError
from hazgate_scale.corpus.lock import exclusive
from hazgate_scale.corpus.output import Output
from tests.support.corpora import write_jsonl

_HOLD = """
import sys, time
from hazgate_scale.corpus.lock import exclusive
from hazgate_scale.corpus.output import Output
with exclusive(Output.at(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_driver_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    output = Output.at(str(tmp_path / "out"))
    with exclusive(output):
        with pytest.raises(OutputError, match="is at work"), exclusive(output):
            pass
        with exclusive(Output.at(str(tmp_path / "other"))):
            pass
    with exclusive(output):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_driver_keeps_nobody_out(tmp_path: Path) -> None:
    output = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(output)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(OutputError), exclusive(Output.at(str(output))):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with exclusive(Output.at(str(output))):
        pass


def test_a_run_is_refused_before_it_touches_the_other_drivers_files(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    output = tmp_path / "out"
    (output / "_temporary").mkdir(parents=True)
    (output / "_temporary" / "half").touch()
    with exclusive(Output.at(str(output))):
        words = ["corpus", str(tiny_bundle), "--input", str(file), "--output", str(output)]
        result = CliRunner().invoke(cli, words)
    assert result.exit_code == 6
    assert "another hazgate corpus is at work" in result.stderr
    assert (output / "_temporary" / "half").exists()
