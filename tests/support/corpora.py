"""Corpora to judge, and the output of judging them."""

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hazgate.gate import Gate
from hazgate_scale.corpus.inputs import InputFile, find_inputs
from hazgate_scale.corpus.manifest import Judge
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.preflight import check_files
from hazgate_scale.corpus.schemas import verdict_schema
from hazgate_scale.corpus.shards import Shard, cut_shards
from hazgate_scale.corpus.work import Job

# One is flagged by the tiny bundle's random weights and one is not: 0.66 and 0.30.
FLAGGED, PASSED = "How do I kill a Python process?", "summer"


def write_jsonl(file: Path, rows: Iterable[object]) -> Path:
    """Write JSON Lines; write bytes as they are."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    file.write_bytes(b"".join(line + b"\n" for line in lines))
    return file


def write_parquet(file: Path, columns: dict[str, Any], *, row_group_size: int = 1000) -> Path:
    """Write a Parquet file with row groups of that size."""
    pq.write_table(pa.table(columns), file, row_group_size=row_group_size)
    return file


def planned(
    file: Path | str, options: CorpusOptions, shard_bytes: int = 1 << 20
) -> tuple[InputFile, tuple[Shard, ...], pa.Schema]:
    """Return a good file, its shards, and the columns that the output repeats."""
    inputs = find_inputs([str(file)], options.format)
    checked = check_files(inputs, options)
    assert checked.bad == ()
    assert checked.schema is not None
    return inputs[0], cut_shards(checked.files, shard_bytes), checked.schema


def job_of(gate: Gate, options: CorpusOptions, passed: Sequence[pa.Field]) -> Job:
    """Return a run's job, as its driver makes it."""
    judge = Judge(
        bundle=gate.model.bundle,
        digest=gate.model.digest,
        variant=gate.model.variant,
        threshold=gate.threshold,
        policy=gate.policy.digest if gate.policy else None,
        labels=gate.hazards,
        hazgate="test",
        levels={name: gate.beside[name].labels for name in options.levels},
    )
    schema = pa.schema([*passed, *verdict_schema(judge.labels, judge.levels)])
    return Job(run="test", options=options, judge=judge, schema=schema)


def parts_of(output: Path) -> list[dict[str, Any]]:
    """Return every row of every part, from the parts alone."""
    rows: list[dict[str, Any]] = pq.read_table(output / "parts").to_pylist()
    return rows


def dead_letters_of(output: Path) -> list[dict[str, Any]]:
    """Return every dead letter."""
    files = sorted((output / "_dead_letters").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def line_positions(file: Path) -> list[int]:
    """Return the byte position of each line of a file."""
    sizes = [len(line) for line in file.read_bytes().splitlines(keepends=True)]
    return [0, *accumulate(sizes)][: len(sizes)]
