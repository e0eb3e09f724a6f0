"""Labelled texts, read strictly from JSON Lines."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hazgate.bundle.manifest import Manifest
from hazgate.errors import InputError

# Enough to mend a file; a file of another kind would report every line.
_MAX_PROBLEMS = 20
_BOM = b"\xef\xbb\xbf"
_MAX_TEXT_BYTES = 1 << 20
_SHOWN_LABEL_CHARACTERS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelNames:
    """The labels that a data file may use: those of the evaluated bundle."""

    level1: tuple[str, ...]
    positive: str
    level2: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> "LabelNames":
        """Take the labels of a bundle's two levels."""
        cascade = manifest.cascade
        return cls(
            level1=manifest.levels[cascade.level1].labels,
            positive=cascade.positive_label,
            level2=manifest.levels[cascade.level2].labels,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledRow:
    """One labelled text.

    `number` is its line in the file, from 1. `level1` is None if the row does not count for
    Level 1, `level2` if no single hazard is known. Rows of one `group` are variants of one item
    and are never treated as independent.
    """

    number: int
    text: str
    level1: str | None
    level2: str | None
    lang: str | None
    source: str | None
    group: str


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
    or null); optional are `lang`, `source`, `group` (strings) and `level1_ok` (false: the row
    does not count for Level 1). Other fields are ignored.

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
    for number, line in enumerate(data.removeprefix(_BOM).split(b"\n"), start=1):
        if not line.strip():
            continue
        found: list[str] = []
        row = _parse(line, number, names, found, unknown)
        if found:
            problems.append(f"  - line {number}: {'; '.join(found)}")
        elif row:
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
    line: bytes,
    number: int,
    names: LabelNames,
    problems: list[str],
    unknown: Mapping[str, Counter[str]],
) -> LabelledRow | None:
    data = _object(line, problems)
    if data is None:
        return None
    text = data.get("text")
    if not isinstance(text, str):
        problems.append("expected a string field text")
    else:
        try:
            if len(text.encode("utf-8")) > _MAX_TEXT_BYTES:
                problems.append(
                    f"text is longer than {_MAX_TEXT_BYTES} bytes, the most that a gate takes"
                )
        except UnicodeEncodeError:
            problems.append("text holds a lone surrogate")
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
    if problems or not isinstance(text, str):
        return None
    return LabelledRow(
        number=number,
        text=text,
        level1=level1 if counts else None,
        level2=level2,
        lang=lang,
        source=source,
        # A group of one row: no group in a file begins like this.
        group=f"\0line {number}" if group is None else group,
    )


def _object(line: bytes, problems: list[str]) -> Mapping[str, object] | None:
    try:
        data = json.loads(
            line.decode("utf-8"), parse_constant=_refuse, object_pairs_hook=_unique_keys
        )
    except UnicodeDecodeError:
        problems.append("not UTF-8")
    except (ValueError, RecursionError):
        problems.append("not JSON, or has a field twice")
    else:
        if isinstance(data, dict):
            return data
        problems.append(f"expected an object, got {type(data).__name__}")
    return None


def _label(
    data: Mapping[str, object],
    field: str,
    labels: Sequence[str],
    problems: list[str],
    unknown: Counter[str],
) -> str | None:
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
    file: Path, problems: Sequence[str], unknown: Mapping[str, Counter[str]], names: LabelNames
) -> str:
    lines = [f"{file}: {len(problems)} bad lines", *problems[:_MAX_PROBLEMS]]
    if len(problems) > _MAX_PROBLEMS:
        lines.append(f"  - and {len(problems) - _MAX_PROBLEMS} more")
    known = {"level1": names.level1, "level2": names.level2}
    for field, counts in unknown.items():
        if counts:
            listed = ", ".join(
                f"{label[:_SHOWN_LABEL_CHARACTERS]!r} ({n} lines)"
                for label, n in counts.most_common(_MAX_PROBLEMS)
            )
            lines.append(
                f"unknown labels in {field}: {listed}; the bundle has {', '.join(known[field])}"
            )
    return "\n".join(lines)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a field is given twice")
    return table


def _refuse(constant: str) -> float:
    """NaN and Infinity, which Python reads although JSON does not have them."""
    raise ValueError(f"{constant} is not JSON")
