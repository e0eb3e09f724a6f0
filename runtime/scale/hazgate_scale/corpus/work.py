"""One shard, from reading it to its part: what every worker does again and again."""

import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from fsspec.core import url_to_fs

from hazgate import __version__
from hazgate.documents.decode import decode, encode
from hazgate.errors import InputError, OutputError
from hazgate.gate import Gate
from hazgate.judging.verdict import Verdict
from hazgate_scale.corpus.inputs import InputFile
from hazgate_scale.corpus.manifest import Judge
from hazgate_scale.corpus.options import CorpusOptions, Mode
from hazgate_scale.corpus.output import Output, dead_letters_name, part_name, review_name
from hazgate_scale.corpus.readers import BadFileError, read_shard
from hazgate_scale.corpus.review import candidates, sample
from hazgate_scale.corpus.rows import DeadLetter, Rows
from hazgate_scale.corpus.schemas import verdict_columns
from hazgate_scale.corpus.scoring import score
from hazgate_scale.corpus.shards import Shard
from hazgate_scale.corpus.tally import Tally, tally_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is the same for every shard of a run.

    `run` is the digest of its manifest, `schema` that of every part.
    """

    run: str
    options: CorpusOptions
    judge: Judge
    schema: pa.Schema


def do_shard(gate: Gate, job: Job, output: Output, file: InputFile, shard: Shard) -> Tally:
    """Reads, judges and commits a shard; one that is committed already is left as it is.

    What else belongs to a shard is written before its part, so that a part says all of it is
    there. Doing a shard twice, even at the same time, writes the same files twice.

    Raises:
        InputError: the file is damaged and not to be skipped, or has changed since it was planned.
        OutputError: the output cannot be written.
        InferenceError: the model does not answer.
    """
    if output.fs.exists(output.path(part_name(shard.index))):
        return read_tally(output, job.run, shard.index)
    _check_unchanged(file)
    begin = time.monotonic()
    options = job.options
    tally = Tally()
    dead: list[DeadLetter] = []
    review: list[dict[str, Any]] = []
    with output.create_part(shard.index, job.schema) as part:
        try:
            for rows in read_shard(file, shard, options):
                scored = score(gate, rows, all_levels=options.all_levels, tenant=options.tenant)
                judged = _select(rows, scored.kept)
                letters = [*rows.dead, *scored.dead]
                written = _written(scored.verdicts, options.mode)
                out = _select(judged, written)
                part.write(_columns(out, [scored.verdicts[i] for i in written], file, gate, job))
                tally += tally_of(judged.texts, scored.verdicts, letters, len(written))
                dead.extend(letters)
                if options.n_sample:
                    found = candidates(
                        judged,
                        scored.verdicts,
                        uri=file.uri,
                        id_column=options.id_column,
                        seed=options.seed,
                    )
                    review = sample([*review, *found], options.n_sample)
        except BadFileError as error:
            if not options.skip_bad_files:
                raise InputError(f"{error}; mend it, or give --skip-bad-files") from error
            bad = DeadLetter(position=None, error="bad_file", message=str(error))
            dead.append(bad)
            tally += tally_of([], [], [bad], 0)
        output.write_lines(
            dead_letters_name(shard.index), ({"input": file.uri, **encode(one)} for one in dead)
        )
        output.write_lines(review_name(shard.index), review)
        tally += Tally(work_s=time.monotonic() - begin)
        part.footer({"run": job.run, "tally": encode(tally)})
    return tally


def read_tally(output: Output, run: str, index: int) -> Tally:
    """The tally of a shard that is done.

    Raises:
        OutputError: the part is damaged, or of another run.
    """
    footer = output.read_footer(index)
    problems: list[str] = []
    found = decode(_Footer, footer, problems)
    if found is None or found.run != run:
        raise OutputError(
            f"{output.path(part_name(index))} is a part of another run; remove the output, or "
            "name another --output"
        )
    return found.tally


@dataclass(frozen=True, kw_only=True, slots=True)
class _Footer:
    run: str
    tally: Tally


def _check_unchanged(file: InputFile) -> None:
    fs, path = url_to_fs(file.uri)
    try:
        size_bytes = int(fs.size(path))
    except OSError as error:
        raise InputError(f"{file.uri} is not there any more, or not on this node") from error
    if size_bytes != file.size_bytes:
        raise InputError(
            f"{file.uri} has changed since the run was planned: {file.size_bytes} bytes then, "
            f"{size_bytes} now"
        )


def _select(rows: Rows, indices: list[int]) -> Rows:
    """Some of the rows that were read; dead letters are told of apart."""
    if len(indices) == len(rows.texts):
        return rows
    # An output of "id" without an id repeats no column; Arrow finds no rows in none.
    has_columns = rows.passed.num_columns > 0
    return Rows(
        texts=[rows.texts[i] for i in indices],
        positions=[rows.positions[i] for i in indices],
        passed=rows.passed.take(pa.array(indices, pa.int64())) if has_columns else rows.passed,
        dead=[],
    )


def _written(verdicts: list[Verdict], mode: Mode) -> list[int]:
    """Which of the rows that were judged are written."""
    if mode == "annotate":
        return list(range(len(verdicts)))
    return [i for i, verdict in enumerate(verdicts) if verdict.flagged == (mode == "keep")]


def _columns(
    rows: Rows, verdicts: list[Verdict], file: InputFile, gate: Gate, job: Job
) -> pa.RecordBatch:
    beside = verdict_columns(
        rows,
        verdicts,
        uri=file.uri,
        model=gate.model,
        policy=job.judge.policy,
        version=__version__,
        labels=job.judge.labels,
    )
    columns = [*rows.passed.columns, *beside.columns]
    return pa.RecordBatch.from_arrays(columns, schema=job.schema)
