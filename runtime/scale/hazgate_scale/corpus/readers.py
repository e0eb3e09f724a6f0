"""Streaming of a shard's rows in bounded memory."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from hazgate.documents.jsonl import BOM
from hazgate_scale.corpus.inputs import InputFile, open_input
from hazgate_scale.corpus.json_rows import JsonRow, Rejected, parse_row
from hazgate_scale.corpus.lines import Line, read_lines
from hazgate_scale.corpus.options import CorpusOptions
from hazgate_scale.corpus.rows import DeadLetter, Rows
from hazgate_scale.corpus.schemas import FIELDS, passed_columns, passed_schema
from hazgate_scale.corpus.shards import Shard

# Rows answered together: enough to sort by length, few enough to hold.
CHUNK_ROWS = 1024
_CHUNK_BYTES = 4 << 20
# A column chunk of more bytes may be so many times its size in the file. Compression finds less in
# text, and a dictionary's repetitions are not counted.
_MAX_GROWN_BYTES, _MAX_GROWTH = 256 << 20, 1000


class BadFileError(Exception):
    """A file that proved damaged while it was read."""


class UnreadableNowError(Exception):
    """A file that could not be read now, e.g. for a timeout; it may be whole."""


def read_shard(file: InputFile, shard: Shard, options: CorpusOptions) -> Iterator[Rows]:
    """Yield the rows of a shard in order, some at a time.

    Raises:
        BadFileError: the file is damaged, or has changed since it was cut.
        UnreadableNowError: the file system failed.
    """
    rows = _read_parquet if file.format == "parquet" else _read_lines
    try:
        yield from rows(file, shard, options)
    except (OSError, EOFError, pa.ArrowException) as error:
        # The first line: what follows is Arrow's own stack.
        reason = str(error).partition("\n")[0]
        kind = UnreadableNowError if _is_passing(error) else BadFileError
        raise kind(f"{file.uri} cannot be read: {reason}") from error


def _is_passing(error: Exception) -> bool:
    """Return True for an error of the file system, False for one of the file's own bytes.

    gzip and Arrow raise OSError for damaged bytes, too, but without the system's error number.
    """
    return isinstance(error, (TimeoutError, ConnectionError)) or (
        isinstance(error, OSError) and error.errno is not None
    )


@dataclass(kw_only=True, slots=True)
class _Pending:
    """Rows of lines, gathered until there are enough to hand on."""

    schema: pa.Schema
    texts: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    fields: list[str | None] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    n_bytes: int = 0

    @property
    def is_full(self) -> bool:
        n_rows = len(self.texts) + len(self.dead)
        return n_rows >= CHUNK_ROWS or self.n_bytes >= _CHUNK_BYTES

    def add(self, line: Line, row: JsonRow | Rejected) -> None:
        if isinstance(row, Rejected):
            self.dead.append(
                DeadLetter(position=line.position, error=row.error, message=row.message)
            )
            return
        self.texts.append(row.text)
        self.positions.append(line.position)
        self.ids.append(row.id)
        self.fields.append(row.fields)
        self.n_bytes += line.size_bytes

    def rows(self, text_column: str) -> Rows:
        columns = {text_column: self.texts, FIELDS: self.fields}
        arrays = [pa.array(columns.get(each.name, self.ids), each.type) for each in self.schema]
        return Rows(
            texts=self.texts,
            positions=self.positions,
            passed=pa.RecordBatch.from_arrays(arrays, schema=self.schema),
            dead=self.dead,
        )


def _read_lines(file: InputFile, shard: Shard, options: CorpusOptions) -> Iterator[Rows]:
    schema = passed_schema(file.format, None, options)
    is_cut = file.compression is None
    start, end = (shard.start, shard.end) if is_cut else (0, None)
    pending = _Pending(schema=schema)
    with open_input(file, max(0, start - 1)) as stream:
        for line in read_lines(stream, start, end, options.max_row_bytes):
            row = _parse(line, file, options)
            if row is None:
                continue
            pending.add(line, row)
            if pending.is_full:
                yield pending.rows(options.text_column)
                pending = _Pending(schema=schema)
    yield pending.rows(options.text_column)


def _parse(line: Line, file: InputFile, options: CorpusOptions) -> JsonRow | Rejected | None:
    """Parse a line into a row; None for a blank line of JSON Lines."""
    if line.data is None:
        return _too_large(line.size_bytes, options)
    if file.format == "jsonl":
        if not line.data.strip():
            return None
        return parse_row(
            line.data,
            options.text_column,
            options.id_column,
            with_fields=options.columns == "all",
        )
    content = line.data.removeprefix(BOM) if line.position == 0 else line.data
    return _decode(content)


def _decode(content: bytes) -> JsonRow | Rejected:
    try:
        return JsonRow(text=content.decode("utf-8"), id=None, fields=None)
    except UnicodeDecodeError:
        return Rejected(error="not_utf8", message="not UTF-8")


def _too_large(size_bytes: int, options: CorpusOptions) -> Rejected:
    return Rejected(
        error="too_large",
        message=f"{size_bytes} bytes, at most {options.max_row_bytes} are taken; "
        "see --max-row-bytes",
    )


def _read_parquet(file: InputFile, shard: Shard, options: CorpusOptions) -> Iterator[Rows]:
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(fsspec.open(file.uri, "rb"))
        metadata = pq.read_metadata(stream)
        _check_growth(metadata, shard)
        parquet = stack.enter_context(
            pq.ParquetFile(
                stream,
                metadata=metadata,
                # Rows of a dictionary stay numbers until a few of them are needed: a file of some
                # bytes may repeat one large value a million times.
                read_dictionary=_byte_columns(metadata),
                # A buffer instead of whole column chunks, because row groups can have any size.
                buffer_size=1 << 20,
                pre_buffer=False,
            )
        )
        position = sum(parquet.metadata.row_group(i).num_rows for i in range(shard.start))
        # That of the file, without the dictionaries that are kept here.
        arrow = metadata.schema.to_arrow_schema()
        schema = passed_schema("parquet", arrow, options)
        columns = passed_columns(arrow, options)
        for group in range(shard.start, shard.end):
            batches = parquet.iter_batches(
                batch_size=_batch_rows(parquet.metadata.row_group(group)),
                row_groups=[group],
                columns=columns,
                use_threads=False,
            )
            for batch in batches:
                for first, last in _pieces(batch, options):
                    piece = batch.slice(first, last - first)
                    yield _parquet_rows(piece, position + first, schema, options)
                position += batch.num_rows


def _check_growth(metadata: pq.FileMetaData, shard: Shard) -> None:
    """Refuse column chunks that say that they grow beyond what text can.

    Raises:
        BadFileError: one does.
    """
    for i in range(shard.start, shard.end):
        group = metadata.row_group(i)
        for chunk in map(group.column, range(group.num_columns)):
            n_bytes, stored = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
            if n_bytes > _MAX_GROWN_BYTES and n_bytes > _MAX_GROWTH * stored:
                raise BadFileError(
                    f"row group {i}: a column of {stored} bytes would grow to {n_bytes}, more than "
                    f"{_MAX_GROWTH} times; that is no text"
                )


def _byte_columns(metadata: pq.FileMetaData) -> list[str]:
    """List the columns of strings or bytes that are no part of a nested one."""
    schema = metadata.schema
    columns = map(schema.column, range(len(schema)))
    return [
        each.name
        for each in columns
        if each.physical_type == "BYTE_ARRAY"
        and each.path == each.name
        and each.max_repetition_level == 0
        and each.converted_type in ("UTF8", "NONE", "ENUM", "JSON")
    ]


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Choose the rows to decode at a time: fewer if rows are large."""
    row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(CHUNK_ROWS, int(_CHUNK_BYTES // row_bytes)))


def _pieces(batch: pa.RecordBatch, options: CorpusOptions) -> Iterator[tuple[int, int]]:
    """Cut ranges of rows with a bounded number of bytes, as row sizes vary."""
    first = n_bytes = 0
    texts = _sizes(batch.column(options.text_column))
    others = [_sizes(batch[name]) for name in batch.schema.names if name != options.text_column]
    for i, size in enumerate(texts):
        # Of a row whose text is too large, nothing is decoded.
        taken = size + sum(sizes[i] for sizes in others) if size <= options.max_row_bytes else 0
        if i > first and n_bytes + taken > _CHUNK_BYTES:
            yield first, i
            first, n_bytes = i, 0
        n_bytes += taken
    if batch.num_rows:
        yield first, batch.num_rows


def _sizes(column: pa.Array) -> list[int]:
    """Return the bytes of each value of a column of strings; none of another column."""
    if pa.types.is_dictionary(column.type):
        values = _sizes(column.dictionary)
        indices = column.indices.to_pylist()
        return [0 if i is None or not values else values[i] for i in indices]
    if not _is_bytes(column.type):
        return [0] * len(column)
    # Cast to bytes, because Arrow does not check that strings are UTF-8.
    lengths = pa.compute.binary_length(column.cast(pa.large_binary()))
    return [length or 0 for length in lengths.to_pylist()]


def _is_bytes(kind: pa.DataType) -> bool:
    return any(
        is_one(kind)
        for is_one in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
        )
    )


def _value(column: pa.Array, i: int) -> bytes | None:
    """Return one value of a column of strings as bytes; no other is decoded."""
    if pa.types.is_dictionary(column.type):
        index = column.indices[i].as_py()
        return None if index is None else _value(column.dictionary, index)
    scalar = column.slice(i, 1).cast(pa.large_binary())[0]
    found: bytes | None = scalar.as_py()
    return found


def _parquet_rows(
    batch: pa.RecordBatch, position: int, schema: pa.Schema, options: CorpusOptions
) -> Rows:
    column = batch.column(options.text_column)
    texts: list[str] = []
    good: list[int] = []
    dead: list[DeadLetter] = []
    for i, size in enumerate(_sizes(column)):
        row = _parquet_text(column, i, size, options)
        if isinstance(row, Rejected):
            dead.append(DeadLetter(position=position + i, error=row.error, message=row.message))
        else:
            texts.append(row.text)
            good.append(i)
    taken = batch.take(pa.array(good, pa.int64()))
    arrays = [
        pa.array(texts, pa.string())
        if each.name == options.text_column
        else _plain(taken[each.name], each.type)
        for each in schema
    ]
    return Rows(
        texts=texts,
        positions=[position + i for i in good],
        passed=pa.RecordBatch.from_arrays(arrays, schema=schema),
        dead=dead,
    )


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a column in the file's own type, where it was read as a dictionary."""
    return column if column.type == kind else column.cast(kind)


def _parquet_text(
    column: pa.Array, i: int, size: int, options: CorpusOptions
) -> JsonRow | Rejected:
    if size > options.max_row_bytes:
        return _too_large(size, options)
    content = _value(column, i)
    if content is None:
        return Rejected(error="missing_text", message=f"null in column {options.text_column}")
    return _decode(content)
