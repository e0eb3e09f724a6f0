"""A worker of a bulk job reaches nobody, and writes nothing but its output."""

from pathlib import Path

import pytest

from tests.support.corpora import parts_of, write_jsonl
from tests.support.sealed_off import check_stays, needs_namespaces, python_at_home

pytestmark = [pytest.mark.slow, needs_namespaces]

# As an actor does it; ONNX Runtime's telemetry asks for an address after nine seconds.
_WORK = """
import sys, time
from pathlib import Path
from hazgate import Gate
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.output import Output
from hazgate_scale.corpus.work import do_shard
from tests.support.corpora import job_of, planned
bundle, file, output = map(Path, sys.argv[1:])
options = CorpusOptions()
found, shards, passed = planned(file, options, 1 << 20)
gate = Gate.open(bundle)
for shard in shards:
    do_shard(gate, job_of(gate, options, passed), Output.at(str(output)), found, shard)
time.sleep(12)
"""


def test_a_worker_reaches_nobody_and_writes_its_output_only(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    texts = ["good morning", "hello", "bomb"]
    file = write_jsonl(tmp_path / "a.jsonl", ({"text": text} for text in texts))
    output = tmp_path / "out"
    watched = python_at_home(tmp_path, "-c", _WORK, tiny_bundle, file, output)
    check_stays(watched, tmp_path, output)
    assert [row["text"] for row in parts_of(output)] == texts
