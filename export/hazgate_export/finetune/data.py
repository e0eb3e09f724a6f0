"""Labelled rows: read strictly, chosen by the rules, split by group. No model, no torch."""

import hashlib
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hazgate.documents.jsonl import LineError, parse_lines, parse_object
from hazgate.documents.problems import list_problems
from hazgate_export.errors import DataError
from hazgate_export.finetune_settings import (
    Balance,
    Candidate,
    DataRules,
    FileDefaults,
    Quality,
    StyleNoise,
    TaskSettings,
)

# The label of a row for which none of several possible labels holds.
NO_LABEL = "none"
_NOT_A_WORD = re.compile(r"\W+")
# Batches are cut from pools of this many, sorted by length: little padding, but still random.
_BATCHES_PER_POOL = 20
# Power of its row count by which a class, or a source, loses weight.
_EXPONENTS: Mapping[Balance, float] = {"none": 0.0, "sqrt": 0.5, "full": 1.0}


class _StoredRow(BaseModel):
    """A line of a data file, but for labels in fields of its own.

    `spans`, `source_label`, `permissive` and `topic` are not used.
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
    spans: object = None
    source_label: object = None
    permissive: object = None
    topic: object = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRow:
    """One labelled text.

    `level1` and `level2` are None without a label; `level2` is, too, if several hazards apply.
    `further` has the labels of other fields by their names, as a tuple where several may hold.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The rows that the rules leave, and how many each rule took away."""

    rows: tuple[TrainingRow, ...]
    n_dropped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Three parts that share neither a group nor a text."""

    train: tuple[TrainingRow, ...]
    validation: tuple[TrainingRow, ...]
    held_out: tuple[TrainingRow, ...]


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
        labels: the labels that are known.
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


def select(rows: Sequence[TrainingRow], rules: DataRules, *, seed: int) -> Selection:
    """Select usable rows, each text once, within the caps; only `seed` decides the draw."""
    field = rules.label_field
    kept = list(rows)
    dropped: dict[str, int] = {}

    def keep(rule: str, chosen: Iterable[TrainingRow]) -> None:
        nonlocal kept
        n_before, kept = len(kept), list(chosen)
        dropped[rule] = n_before - len(kept)

    keep("other language", (row for row in kept if row.lang in rules.languages))
    keep("excluded source", (row for row in kept if row.source not in rules.excluded_sources))
    keep(f"no usable {field}", (row for row in kept if row.label(field) is not None))
    # A shuffle by hash: the same rows are drawn whatever the files' order.
    kept.sort(key=lambda row: _hash(seed, row.text))
    keep("repeated text", _first_of_each(kept))
    keep(
        "source cap",
        _capped(kept, lambda row: rules.source_caps.get(row.source), _source_label(field)),
    )
    keep(
        "label cap",
        _capped(
            kept,
            lambda row: rules.label_caps.get(row.label(field) or ""),
            lambda row: row.label(field),
        ),
    )
    return Selection(rows=tuple(kept), n_dropped=dropped)


def split(rows: Sequence[TrainingRow], rules: DataRules, *, seed: int, hold_out: bool) -> Split:
    """Divides rows so that no group and no text lies on two sides.

    Args:
        rows: what `select` left.
        rules: the sources and shares to hold out.
        seed: of the draw of groups.
        hold_out: whether held-out rows are set apart; else they are split as all others.
    """
    held_out = [row for row in rows if hold_out and _is_held_out(row, rules, seed)]
    held_out_groups = {row.group for row in held_out}
    rest = [row for row in rows if row.group not in held_out_groups]
    held_out_ids = set(map(id, held_out))
    # Rows of other sources that share a group with a held-out row are left out of the run.
    rest = [row for row in rest if id(row) not in held_out_ids]
    validation: list[TrainingRow] = []
    train: list[TrainingRow] = []
    for row in rest:
        is_validation = _fraction(seed, "validation", row.group) < rules.validation_share
        (validation if is_validation else train).append(row)
    return Split(train=tuple(train), validation=tuple(validation), held_out=tuple(held_out))


def loss_weights(
    rows: Sequence[TrainingRow], rules: DataRules, balance: Candidate | TaskSettings
) -> list[float]:
    """Weigh each row in the loss by its class, quality and source; the mean is 1."""
    labels = [row.label(rules.label_field) for row in rows]
    parts = [(label, row.source) for label, row in zip(labels, rows, strict=True)]
    n_of_label, n_of_part = Counter(labels), Counter(parts)
    source_exponent = _EXPONENTS[balance.source_balance]
    shares = [n_of_part[part] ** -source_exponent for part in parts]
    total_of_label: dict[str | None, float] = defaultdict(float)
    for label, share in zip(labels, shares, strict=True):
        total_of_label[label] += share
    class_exponent = _EXPONENTS[balance.class_balance]
    weights = [
        n_of_label[label] ** (1 - class_exponent)
        * (share / total_of_label[label])
        * rules.quality_weights.get(row.quality, 1.0)
        * rules.source_weights.get(row.source, 1.0)
        for row, label, share in zip(rows, labels, shares, strict=True)
    ]
    mean = math.fsum(weights) / len(weights)
    return [weight / mean for weight in weights]


def plan_epoch(
    lengths: Sequence[int], batch_size: int, generator: random.Random
) -> list[list[int]]:
    """Return one epoch's batches of row numbers: random, of similar length, each row once."""
    order = list(range(len(lengths)))
    generator.shuffle(order)
    batches: list[list[int]] = []
    pool_size = batch_size * _BATCHES_PER_POOL
    for start in range(0, len(order), pool_size):
        pool = sorted(order[start : start + pool_size], key=lengths.__getitem__)
        batches.extend(pool[i : i + batch_size] for i in range(0, len(pool), batch_size))
    generator.shuffle(batches)
    return batches


def add_noise(text: str, noise: StyleNoise, generator: random.Random) -> str:
    """Change the end or the beginning of the text at random; see StyleNoise."""
    draw = generator.random()
    if draw < noise.drop_end_share:
        text = text.rstrip(" .?!")
    elif draw < noise.drop_end_share + noise.swap_end_share:
        text = text.rstrip(" .?!") + generator.choice("?.!")
    if noise.prefixes and generator.random() < noise.prefix_share:
        text = f"{generator.choice(noise.prefixes)} {text}"
    return text


def words_of(text: str) -> str:
    """Return a text without case and punctuation: two texts with the same words are one item."""
    return _NOT_A_WORD.sub(" ", text.lower()).strip()


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
    value = _all_hazards(stored, rules) if field == "level2_all" else own.get(field)
    if field not in ("level1", "level2") and value is not None:
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


def _first_of_each(rows: Iterable[TrainingRow]) -> list[TrainingRow]:
    seen: set[str] = set()
    firsts = []
    for row in rows:
        key = words_of(row.text)
        if key not in seen:
            seen.add(key)
            firsts.append(row)
    return firsts


def _capped(
    rows: Iterable[TrainingRow],
    cap: Callable[[TrainingRow], int | None],
    key: Callable[[TrainingRow], object],
) -> list[TrainingRow]:
    n_kept: Counter[object] = Counter()
    kept = []
    for row in rows:
        most = cap(row)
        if most is None or n_kept[key(row)] < most:
            n_kept[key(row)] += 1
            kept.append(row)
    return kept


def _source_label(field: str) -> Callable[[TrainingRow], object]:
    return lambda row: (row.source, row.label(field))


def _is_held_out(row: TrainingRow, rules: DataRules, seed: int) -> bool:
    share = rules.held_out_group_shares.get(row.source, 0.0)
    return row.source in rules.held_out_sources or (
        share > 0 and _fraction(seed, "held out", row.group) < share
    )


def _hash(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


def _fraction(*parts: object) -> float:
    """Compute a number in [0, 1) from the parts alone."""
    return int.from_bytes(_hash(*parts)[:8], "big") / 2**64
