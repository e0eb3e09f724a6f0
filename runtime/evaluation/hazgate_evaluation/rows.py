"""Labelled texts, read strictly from JSON Lines."""

import functools
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hazgate.documents.jsonl import (
    LineError,
    describe_bad_lines,
    parse_lines,
    parse_object,
    string_field,
)
from hazgate.documents.problems import MAX_PROBLEMS
from hazgate.errors import InputError
from hazgate.gate import Gate
from hazgate.judging.classification import LabelHead
from hazgate_evaluation.label_fields import labels_in

_MAX_TEXT_BYTES = 1 << 20
_SHOWN_LABEL_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelNames:
    """The labels that a data file may use: those of the evaluated bundle.

    `level2` is empty for the gate of one level. `beside` has the levels beside the cascade that
    label texts; gates may differ in them and be compared.
    """

    level1: tuple[str, ...]
    positive: str
    level2: tuple[str, ...]
    beside: Mapping[str, LabelHead] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, gate: Gate) -> "LabelNames":
        """Take the labels of a gate's levels."""
        return cls(
            level1=gate.labels,
            positive=gate.unsafe_label,
            level2=gate.hazards,
            beside={name: level.head for name, level in gate.beside.items()},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRow:
    """One labelled text.

    `number` is its line in the file, from 1. `level1` is None if the row does not count for
    Level 1, `level2` if no single hazard is known. Rows of one `group` are variants of one item
    and are never treated as independent. `levels` has the labels of each level beside the cascade
    for which they are known.
    """

    number: int
    text: str
    level1: str | None
    level2: str | None
    lang: str | None
    source: str | None
    group: str
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """The rows of a file, and the file's identity."""

    rows: tuple[LabelledRow, ...]
    name: str
    sha256: str
    n_rows_in_file: int


def read_labelled(file: Path, names: LabelNames) -> Dataset:
    """Read the rows of a JSON Lines file, skipping blank lines.

    Each line is an object with `text` (a string), `level1` and `level2` (a label of the bundle,
    or null; no `level2` for the gate of one level); optional are `lang`, `source`, `group`
    (strings) and `level1_ok` (false: the row does not count for Level 1). A field that is named as
    a level beside the cascade has its labels, see `labels_in`; then `level1` and `level2` may be
    left out. Other fields are ignored.

    Raises:
        InputError: the file cannot be read, is empty, or has wrong lines. Names every wrong line
            by number and every label that the bundle does not have; quotes no text.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    rows: list[LabelledRow] = []
    problems: list[str] = []
    unknown: dict[str, Counter[str]] = {"level1": Counter(), "level2": Counter()}
    parse = functools.partial(_parse, names=names, unknown=unknown)
    for number, row in parse_lines(data.split(b"\n"), parse):
        if isinstance(row, LineError):
            problems.append(f"line {number}: {row}")
        else:
            rows.append(row)
    if problems:
        raise InputError(_describe(file, problems, unknown, names))
    if not rows:
        raise InputError(f"{file} has no rows; expected JSON Lines with text, level1 and level2")
    return Dataset(
        rows=tuple(rows),
        name=file.name,
        sha256=hashlib.sha256(data).hexdigest(),
        n_rows_in_file=len(rows),
    )


def _parse(
    number: int, line: bytes, *, names: LabelNames, unknown: Mapping[str, Counter[str]]
) -> LabelledRow:
    data = parse_object(line)
    problems: list[str] = []
    text = ""
    try:
        text = string_field(data, "text")
    except LineError as error:
        problems.append(str(error))
    if len(text.encode("utf-8")) > _MAX_TEXT_BYTES:
        problems.append(f"text is longer than {_MAX_TEXT_BYTES} bytes, the most that a gate takes")
    levels: dict[str, tuple[str, ...]] = {}
    for name, head in names.beside.items():
        try:
            labels = labels_in(data, name, head)
        except LineError as error:
            problems.append(str(error))
            continue
        if labels is not None:
            levels[name] = labels
    # Rows of another level alone say nothing of the cascade's.
    data = {**dict.fromkeys(("level1", "level2") if levels else ()), **data}
    level1 = _label(data, "level1", names.level1, problems, unknown["level1"])
    level2 = _label(data, "level2", names.level2, problems, unknown["level2"])
    lang, source, group = (_string(data, field, problems) for field in ("lang", "source", "group"))
    counts = data.get("level1_ok", True)
    if not isinstance(counts, bool):
        problems.append("level1_ok must be true or false")
    if counts is True and level2 is not None and level1 not in (None, names.positive):
        problems.append(
            f"level2 names a hazard although level1 is {level1}; set it to null, or level1_ok false"
        )
    if problems:
        raise LineError("; ".join(problems))
    return LabelledRow(
        number=number,
        text=text,
        level1=level1 if counts else None,
        level2=level2,
        lang=lang,
        source=source,
        # A group of one row: no group in a file begins like this.
        group=f"\0line {number}" if group is None else group,
        levels=levels,
    )


def _label(
    data: Mapping[str, object],
    field: str,
    labels: Sequence[str],
    problems: list[str],
    unknown: Counter[str],
) -> str | None:
    if field not in data and not labels:
        return None
    if field not in data:
        problems.append(f"{field} is missing (write null if it is not known)")
        return None
    value = data[field]
    if value is not None and not isinstance(value, str):
        problems.append(f"{field} must be a label or null, got {type(value).__name__}")
        return None
    if value is not None and value not in labels:
        problems.append(f"{field} is not a label of the bundle")
        unknown[value] += 1
        return None
    return value


def _string(data: Mapping[str, object], field: str, problems: list[str]) -> str | None:
    value = data.get(field)
    if value is None or isinstance(value, str):
        return value
    problems.append(f"{field} must be a string or null, got {type(value).__name__}")
    return None


def _describe(
    file: Path, problems: list[str], unknown: Mapping[str, Counter[str]], names: LabelNames
) -> str:
    lines = [describe_bad_lines(file, problems)]
    known = {"level1": names.level1, "level2": names.level2}
    for name, counts in unknown.items():
        if counts:
            listed = ", ".join(
                f"{label[:_SHOWN_LABEL_CHARACTERS]!r} ({n} lines)"
                for label, n in counts.most_common(MAX_PROBLEMS)
            )
            lines.append(
                f"unknown labels in {name}: {listed}; the bundle has "
                f"{', '.join(known[name]) or 'no such level'}"
            )
    return "\n".join(lines)
