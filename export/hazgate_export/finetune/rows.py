"""Labelled rows, read strictly from JSON Lines. No model, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hazgate.documents.jsonl import LineError, parse_lines, parse_object
from hazgate.documents.problems import list_problems
from hazgate_export.errors import DataError
from hazgate_export.finetune_settings import SPANS_FIELD, DataRules, FileDefaults, Quality

# The label of a row for which none of several possible labels holds.
NO_LABEL = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSpan:
    """A span of a row: its type, its first code point and the one behind its last."""

    label: str
    start: int
    end: int


class _StoredSpan(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    start: Annotated[int, Field(ge=0)]
    end: int
    label: str


class _StoredRow(BaseModel):
    """A line of a data file, but for labels in fields of its own.

    `source_label`, `permissive` and `topic` are not used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    text: str
    level1: Literal["safe", "unsafe"] | None = None
    level2: str | None = None
    level1_ok: bool = True
    group: str
    source: str | None = None
    license: str | None = None
    lang: str | None = None
    quality: Quality | None = None
    level2_all: list[str] | None = None
    spans: list[_StoredSpan] | None = None
    source_label: object = None
    permissive: object = None
    topic: object = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRow:
    """One labelled text.

    `level1` and `level2` are None without a label; `level2` is, too, if several hazards apply.
    `further` has the labels of other fields by their names, as a tuple where several may hold.
    `spans` are in the text's order and apart, where a token level reads the row: its labels are
    then their types.
    """

    text: str
    level1: str | None
    level2: str | None
    level1_ok: bool
    group: str
    source: str
    license: str
    lang: str
    quality: Quality
    further: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    spans: tuple[TrainingSpan, ...] = ()

    def label(self, field: str) -> str | None:
        """Return the row's label for one level, None if it must not be used for it.

        Several labels are joined by "+", and no label of a level that may have several is "none".
        """
        if field == "level2":
            return self.level2
        if field == "level1":
            return self.level1 if self.level1_ok else None
        value = self.further.get(field)
        return ("+".join(value) or NO_LABEL) if isinstance(value, tuple) else value

    def labels(self, field: str) -> tuple[str, ...] | None:
        """Return all labels that hold for one level, None if the row must not be used for it."""
        value = self.further.get(field)
        if isinstance(value, tuple):
            return value
        label = self.label(field)
        return None if label is None else (label,)


def read_rows(
    files: Sequence[Path],
    rules: DataRules,
    labels: Sequence[str],
    *,
    several: bool = False,
    other_fields: Sequence[str] = (),
) -> tuple[TrainingRow, ...]:
    """Read all rows of the files, in order.

    Args:
        files: JSON Lines.
        rules: the field of the label, and what the files say of all their rows.
        labels: the labels that are known; of the field `spans`, the types.
        several: true if any number of labels may hold; the field is then a list.
        other_fields: fields of labels that rows may have and that are not read.

    Raises:
        DataError: lines that are not rows, with their line numbers, all files in one message.
            Texts are never quoted.
    """
    rows: list[TrainingRow] = []
    problems: list[str] = []
    for file in files:
        defaults = rules.file_defaults.get(file.name)
        parse = partial(_parse, defaults, rules, labels, several, frozenset(other_fields))
        with file.open("rb") as lines:
            for number, row in parse_lines(lines, parse):
                if isinstance(row, LineError):
                    problems.append(f"{file.name}:{number}: {row}")
                else:
                    rows.append(row)
    if problems:
        raise DataError(f"{len(problems)} malformed row(s):{list_problems(problems)}")
    return tuple(rows)


def _parse(
    defaults: FileDefaults | None,
    rules: DataRules,
    labels: Sequence[str],
    several: bool,
    other_fields: frozenset[str],
    _number: int,
    line: bytes,
) -> TrainingRow:
    field = rules.label_field
    values = parse_object(line)
    own = {
        name: values.pop(name)
        for name in (other_fields | {field}) - _StoredRow.model_fields.keys()
        if name in values
    }
    try:
        stored = _StoredRow.model_validate(values)
    except ValidationError as error:
        # Names and rules only: an error's input would be the user's text.
        raise LineError(
            "; ".join(
                f"{'.'.join(map(str, problem['loc'])) or 'row'}: {problem['msg']}"
                for problem in error.errors(include_input=False, include_url=False)
            )
        ) from None
    if stored.level2_all is not None and len(set(stored.level2_all)) > 1:
        level2 = None  # several hazards at once teach no single one
    else:
        level2 = stored.level2
    if field == "level2" and level2 is not None and level2 not in labels:
        raise LineError(f"level2: expected one of {', '.join(labels)} or null")
    if field == "level1" and stored.level1 is not None and stored.level1 not in labels:
        raise LineError(f"level1: expected one of {', '.join(labels)}")
    further: dict[str, str | tuple[str, ...]] = {}
    spans: tuple[TrainingSpan, ...] = ()
    if field == SPANS_FIELD:
        if stored.spans is not None:
            spans = _spans(stored.text, stored.spans, labels)
            found = {span.label for span in spans}
            further[field] = tuple(label for label in labels if label in found)
    elif field not in ("level1", "level2"):
        value = _all_hazards(stored, rules) if field == "level2_all" else own.get(field)
        if value is not None:
            further[field] = _checked(field, value, labels, several)
    source = stored.source or (defaults and defaults.source)
    license_name = stored.license or (defaults and defaults.license)
    lang = stored.lang or (defaults and defaults.lang)
    quality = stored.quality or (defaults and defaults.quality)
    if not (source and license_name and lang and quality):
        raise LineError("source, license, lang and quality must be in the row or in file_defaults")
    return TrainingRow(
        text=stored.text,
        level1=stored.level1,
        level2=level2,
        level1_ok=stored.level1_ok,
        group=stored.group,
        source=source,
        license=license_name,
        lang=lang,
        quality=quality,
        further=further,
        spans=spans,
    )


def _all_hazards(stored: _StoredRow, rules: DataRules) -> list[str] | None:
    """Return every hazard of a row, None if it is not known which they are."""
    if stored.level2_all is not None:
        return stored.level2_all
    if stored.level2 is not None:
        return [stored.level2]
    if rules.safe_rows_hold_none and stored.level1 == "safe" and stored.level1_ok:
        return []
    return None


def _spans(
    text: str, stored: Sequence[_StoredSpan], labels: Sequence[str]
) -> tuple[TrainingSpan, ...]:
    """Return the spans of a text in its order."""
    spans = sorted(
        (TrainingSpan(label=one.label, start=one.start, end=one.end) for one in stored),
        key=lambda span: (span.start, span.end),
    )
    end_before = 0
    for span in spans:
        place = f"{SPANS_FIELD}: {span.start} to {span.end}"
        if span.label not in labels:
            raise LineError(f"{place}: expected a label of {', '.join(labels)}")
        if not span.start < span.end <= len(text):
            raise LineError(f"{place}: expected characters of the {len(text)} of the text")
        if span.start < end_before:
            raise LineError(f"{place}: overlaps the span before it")
        end_before = span.end
    return tuple(spans)


def _checked(
    field: str, value: object, labels: Sequence[str], several: bool
) -> str | tuple[str, ...]:
    """Return a field's label, or its labels in the order of `labels`."""
    known = ", ".join(labels)
    if not several:
        if not isinstance(value, str) or value not in labels:
            raise LineError(f"{field}: expected one of {known}")
        return value
    if not isinstance(value, list) or any(item not in labels for item in value):
        raise LineError(f"{field}: expected a list of {known}")
    if len(set(value)) < len(value):
        raise LineError(f"{field}: expected each label once")
    return tuple(label for label in labels if label in value)
