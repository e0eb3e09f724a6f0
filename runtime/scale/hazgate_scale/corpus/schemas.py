"""Columns of the output: the repeated ones of the input, then the verdict's."""

import base64
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa

from hazgate.judging.verdict import ModelIdentity, Verdict
from hazgate_scale.corpus.options import CorpusOptions, Format
from hazgate_scale.corpus.rows import Rows

# The other fields of a JSON object, as JSON because their types may differ between rows.
FIELDS = "fields"
_PREFIX = "hazgate_"


def passed_columns(parquet: pa.Schema, options: CorpusOptions) -> list[str]:
    """List the columns to read from a Parquet file."""
    if options.columns == "all":
        return list(parquet.names)
    return [name for name in parquet.names if name in (options.text_column, options.id_column)]


def passed_schema(format_: Format, parquet: pa.Schema | None, options: CorpusOptions) -> pa.Schema:
    """Choose the input's columns that the output repeats.

    Args:
        format_: format of the file.
        parquet: the schema of a Parquet file.
        options: the run's options.
    """
    if parquet is not None:
        names = passed_columns(parquet, options)
        own = [parquet.field(name) for name in names]
    else:
        own = [pa.field(options.text_column, pa.string())]
        if format_ == "jsonl" and options.id_column is not None:
            own.insert(0, pa.field(options.id_column, pa.string()))
        if format_ == "jsonl" and options.columns == "all":
            own.append(pa.field(FIELDS, pa.string()))
    # One type of text, whichever program wrote the file.
    text = pa.field(options.text_column, pa.string())
    fields = [text if each.name == options.text_column else each for each in own]
    if options.columns == "id":
        fields = [each for each in fields if each.name == options.id_column]
    return pa.schema(fields)


def taken_names(schema: pa.Schema) -> list[str]:
    """List an input's columns whose names the output needs for itself."""
    return [name for name in schema.names if name.startswith(_PREFIX)]


def verdict_schema(
    labels: Sequence[str], levels: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> pa.Schema:
    """Describe the columns of a verdict; see `hazgate.Verdict`, and `Rows` for positions.

    Without labels, verdicts have no hazards: Parquet has no structs without fields.

    Args:
        labels: of the hazards.
        levels: labels of each level beside the cascade.
    """
    types = {
        "flagged": pa.bool_(),
        "unsafe": pa.float32(),
        "hazard": pa.string(),
        "hazards": pa.struct([pa.field(label, pa.float32()) for label in labels]),
        "levels": pa.struct([pa.field(name, _level(own)) for name, own in levels.items()]),
        "tokens_total": pa.int32(),
        "tokens_read": pa.int32(),
        "tokens_unknown": pa.int32(),
        "windows": pa.int32(),
        "truncated": pa.bool_(),
        "understood": pa.bool_(),
        "language": pa.string(),
        "span_start": pa.int32(),
        "span_end": pa.int32(),
        "action": pa.string(),
        "severity": pa.string(),
        "input": pa.string(),
        "position": pa.int64(),
        "bundle": pa.string(),
        "variant": pa.string(),
        "policy": pa.string(),
        "version": pa.string(),
    }
    if not labels:
        del types["hazard"], types["hazards"]
    if not levels:
        del types["levels"]
    return pa.schema([pa.field(_PREFIX + name, kind) for name, kind in types.items()])


def _level(labels: Sequence[str]) -> pa.StructType:
    """Describe a level's result: the labels that hold, and the score of each."""
    scores = pa.struct([pa.field(label, pa.float32()) for label in labels])
    return pa.struct(
        [
            pa.field("flagged", pa.bool_()),
            pa.field("labels", pa.list_(pa.string())),
            pa.field("scores", scores),
        ]
    )


def schema_text(schema: pa.Schema) -> str:
    """Write a schema as ASCII; see `parse_schema`."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def parse_schema(text: str) -> pa.Schema:
    """Read a schema that `schema_text` wrote."""
    return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))


def verdict_columns(
    rows: Rows,
    verdicts: Sequence[Verdict],
    *,
    uri: str,
    model: ModelIdentity,
    policy: str | None,
    version: str,
    labels: Sequence[str],
    levels: Mapping[str, Sequence[str]],
) -> pa.RecordBatch:
    """Build the verdict columns of `rows`, in the order of `verdict_schema`.

    Args:
        rows: rows whose `positions` are written.
        verdicts: one for each of them.
        uri: URI of the rows' file.
        model: the model that gave the verdicts.
        policy: digest of the policy that decided.
        version: version of hazgate.
        labels: labels of the hazards.
        levels: labels of each level beside the cascade.
    """
    schema = verdict_schema(labels, levels)
    decisions = [verdict.decision for verdict in verdicts]
    hazards: list[Sequence[object]] = [
        [verdict.hazard for verdict in verdicts],
        [verdict.hazards for verdict in verdicts],
    ]
    columns: list[Sequence[object]] = [
        [verdict.flagged for verdict in verdicts],
        [verdict.unsafe for verdict in verdicts],
        *(hazards if labels else ()),
        *([[_results(verdict, levels) for verdict in verdicts]] if levels else ()),
        [verdict.tokens.total for verdict in verdicts],
        [verdict.tokens.read for verdict in verdicts],
        [verdict.tokens.unknown for verdict in verdicts],
        [verdict.tokens.windows for verdict in verdicts],
        [verdict.truncated for verdict in verdicts],
        [verdict.understood for verdict in verdicts],
        [verdict.language for verdict in verdicts],
        [verdict.span.start for verdict in verdicts],
        [verdict.span.end for verdict in verdicts],
        [decision.action if decision else None for decision in decisions],
        [decision.severity if decision else None for decision in decisions],
        [uri] * len(verdicts),
        rows.positions,
        [model.digest] * len(verdicts),
        [model.variant] * len(verdicts),
        [policy] * len(verdicts),
        [version] * len(verdicts),
    ]
    arrays = [pa.array(values, each.type) for values, each in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _results(verdict: Verdict, levels: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """Return the results of levels as the values of their columns."""
    return {
        name: {
            "flagged": verdict.levels[name].flagged,
            "labels": list(verdict.levels[name].labels),
            "scores": dict(verdict.levels[name].scores),
        }
        for name in levels
    }
