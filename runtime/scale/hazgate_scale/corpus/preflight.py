"""Checks of the input files before the first row is judged."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from hazgate.documents.jsonl import LineError, parse_object
from hazgate_scale.corpus.inputs import InputFile, open_input
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.schemas import passed_schema, taken_names
from hazgate_scale.corpus.shards import Divisible

# Enough to distinguish a misnamed column from a bad row.
_HEAD_ROWS = 20
_HEAD_BYTES = 1 << 18
_N_THREADS = 16
_UTF_16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True, kw_only=True, slots=True)
class BadFile:
    """A file that cannot be read, and the reason."""

    uri: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """Result of the checks: files to cut, and bad files.

    `files` has bad files as empty ones, which get no shards. `schema` is that of the repeated
    columns of the good files, None if there are none.
    """

    schema: pa.Schema | None
    files: tuple[Divisible, ...]
    bad: tuple[BadFile, ...]


_EMPTY = Divisible(size_bytes=0)


def check_files(files: Sequence[InputFile], options: CorpusOptions) -> Checked:
    """Check the head of every file and the footer of Parquet files."""
    with ThreadPoolExecutor(_N_THREADS) as pool:
        looks = list(pool.map(lambda file: _look(file, options), files))
    first = next(
        ((file, look) for file, look in zip(files, looks, strict=True) if look.is_good), None
    )
    divisible: list[Divisible] = []
    bad: list[BadFile] = []
    for file, look in zip(files, looks, strict=True):
        problem = look.problem
        if first is not None and not problem:
            problem = _differs(look.schema, first[1].schema, first[0].uri)
        if problem:
            bad.append(BadFile(uri=file.uri, message=problem))
        divisible.append(_EMPTY if problem else look.divisible)
    schema = first[1].schema if first is not None else None
    return Checked(schema=schema, files=tuple(divisible), bad=tuple(bad))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    divisible: Divisible = _EMPTY
    schema: pa.Schema | None = None
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return not self.problem


def _look(file: InputFile, options: CorpusOptions) -> _Look:
    try:
        return (
            _look_at_parquet(file, options)
            if file.format == "parquet"
            else _look_at_lines(file, options)
        )
    except (OSError, EOFError, ValueError, pa.ArrowException) as error:
        # The first line only; Arrow's own stack follows it.
        return _Look(problem=f"cannot be read: {str(error).partition(chr(10))[0]}")


def _look_at_parquet(file: InputFile, options: CorpusOptions) -> _Look:
    with fsspec.open(file.uri, "rb") as stream, pq.ParquetFile(stream) as parquet:
        schema, metadata = parquet.schema_arrow, parquet.metadata
        problem = _column_problem(schema, options)
        if problem:
            return _Look(problem=problem)
        sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    return _Look(
        divisible=Divisible(size_bytes=file.size_bytes, units=tuple(sizes)),
        schema=passed_schema("parquet", schema, options),
    )


def _column_problem(schema: pa.Schema, options: CorpusOptions) -> str:
    wanted = [options.text_column, *([options.id_column] if options.id_column else [])]
    missing = [name for name in wanted if name not in schema.names]
    if missing:
        return f"no column {', '.join(missing)}; its columns: {', '.join(schema.names)}"
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        return f"more than one column {', '.join(twice)}"
    kind = schema.field(options.text_column).type
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (
        pa.types.is_string(value)
        or pa.types.is_large_string(value)
        or pa.types.is_string_view(value)
    ):
        return f"column {options.text_column} must hold strings, it holds {kind}"
    taken = taken_names(schema) if options.columns == "all" else []
    if taken:
        return (
            f"has columns of verdicts already: {', '.join(taken)}; rename them, or give "
            "--columns text"
        )
    return ""


def _look_at_lines(file: InputFile, options: CorpusOptions) -> _Look:
    divisible = Divisible(
        size_bytes=file.size_bytes,
        units=None if file.compression is None else (file.size_bytes,),
    )
    with open_input(file) as stream:
        head = stream.read(_HEAD_BYTES)
    if head.startswith(_UTF_16_OR_32):
        return _Look(problem="is UTF-16 or UTF-32; write it as UTF-8")
    problem = _fields_problem(head, options) if file.format == "jsonl" else ""
    if file.format == "text" and options.id_column is not None:
        problem = "has lines of text without ids; leave --id-column out"
    if problem:
        return _Look(problem=problem)
    return _Look(divisible=divisible, schema=passed_schema(file.format, None, options))


def _fields_problem(head: bytes, options: CorpusOptions) -> str:
    """Describe the problem if the first lines are no objects, or none has the wanted field."""
    if head.lstrip().startswith(b"["):
        return "is a JSON array; write one object per line, e.g. with jq -c '.[]'"
    lines = [line for line in head.split(b"\n")[:_HEAD_ROWS] if line.strip()]
    if len(head) == _HEAD_BYTES and b"\n" not in head:
        # The first line goes on behind the head.
        return ""
    found = []
    for line in lines:
        with suppress(LineError):
            found.append(parse_object(line))
    if lines and not found:
        return (
            f"none of its first {len(lines)} lines is a JSON object; give --format text if each "
            "line is a text"
        )
    if not found or any(options.text_column in each for each in found):
        return ""
    return f"none of its first {len(found)} objects has a field {options.text_column}"


def _differs(own: pa.Schema | None, other: pa.Schema | None, uri: str) -> str:
    """Describe how the repeated columns differ from another file's."""
    if own is None or other is None or own.equals(other):
        return ""
    theirs = {each.name: str(each.type) for each in other}
    ours = {each.name: str(each.type) for each in own}
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    listed = [f"{n}: {ours.get(n, 'none')} here, {theirs.get(n, 'none')} there" for n in names]
    what = "; ".join(listed) or "in another order"
    return (
        f"columns differ from those of {uri}: {what}; "
        "give --columns text or id, or run it by itself"
    )
