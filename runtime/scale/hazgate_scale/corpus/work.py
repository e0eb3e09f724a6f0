"""Work on one shard, from reading its rows to committing its part."""

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
from hazgate_scale.corpus.readers import BadFileError, UnreadableNowError, read_shard
from hazgate_scale.corpus.review import candidates, sample
from hazgate_scale.corpus.rows import DeadLetter, Rows
from hazgate_scale.corpus.schemas import verdict_columns
from hazgate_scale.corpus.scoring import score
from hazgate_scale.corpus.shards import Shard
from hazgate_scale.corpus.tally import Tally, tally_of

# Waits between the tries of a shard whose file cannot be read.
_READ_WAITS_S = (0.5, 2.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Data shared by every shard of a run.

    `run` is the digest of the manifest, `schema` the schema of every part.
    """

    run: str
    options: CorpusOptions
    judge: Judge
    schema: pa.Schema


def do_shard(gate: Gate, job: Job, output: Output, file: InputFile, shard: Shard) -> Tally:
    """Read, judge and commit a shard, unless it is committed already; try again if reading fails.

    The shard's other files are written before its part, so a part proves that they exist. Doing a
    shard twice, even at the same time, writes the same files twice.

    Raises:
        InputError: the file has changed, is damaged and must not be skipped, or cannot be read now.
        OutputError: the output cannot be written.
        InferenceError: the model does not answer.
    """
    n_tries = 0
    while True:
        n_tries += 1
        try:
            return _do_shard(gate, job, output, file, shard)
        except UnreadableNowError as error:
            if n_tries > len(_READ_WAITS_S):
                # Not a bad file: nothing is known of its bytes, so it is never skipped.
                raise InputError(
                    f"{error}; {n_tries} tries. Finished shards are kept: run the same command "
                    "again"
                ) from error
            time.sleep(_READ_WAITS_S[n_tries - 1])


def _do_shard(gate: Gate, job: Job, output: Output, file: InputFile, shard: Shard) -> Tally:
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
                scored = score(
                    gate,
                    rows,
                    all_levels=options.all_levels,
                    levels=options.levels,
                    tenant=options.tenant,
                )
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
                raise InputError(f"{error}; repair it, or give --skip-bad-files") from error
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
    """Read the tally of a finished shard.

    Raises:
        OutputError: the part is damaged, or belongs to another run.
    """
    footer = output.read_footer(index)
    problems: list[str] = []
    found = decode(_Footer, footer, problems)
    if found is None or found.run != run:
        raise OutputError(
            f"{output.path(part_name(index))} belongs to another run; remove the output, or "
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
        raise InputError(f"{file.uri} is missing, or not on this node; restore it") from error
    if size_bytes != file.size_bytes:
        raise InputError(
            f"{file.uri} has changed since the run began: {file.size_bytes} bytes then, "
            f"{size_bytes} now"
        )


def _select(rows: Rows, indices: list[int]) -> Rows:
    """Select some rows; dead letters are reported separately."""
    if len(indices) == len(rows.texts):
        return rows
    # The output may repeat no column; Arrow cannot take rows from no columns.
    has_columns = rows.passed.num_columns > 0
    return Rows(
        texts=[rows.texts[i] for i in indices],
        positions=[rows.positions[i] for i in indices],
        passed=rows.passed.take(pa.array(indices, pa.int64())) if has_columns else rows.passed,
        dead=[],
    )


def _written(verdicts: list[Verdict], mode: Mode) -> list[int]:
    """List the indices of judged rows to write."""
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
        levels=job.judge.levels,
    )
    columns = [*rows.passed.columns, *beside.columns]
    return pa.RecordBatch.from_arrays(columns, schema=job.schema)
