"""Labelled rows: chosen by the rules, split by group, weighed. No model, no torch."""

import hashlib
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hazgate_export.finetune.rows import TrainingRow
from hazgate_export.finetune_settings import (
    Balance,
    Candidate,
    DataRules,
    StyleNoise,
    TaskSettings,
)

_NOT_A_WORD = re.compile(r"\W+")
# Batches are cut from pools of this many, sorted by length: little padding, but still random.
_BATCHES_PER_POOL = 20
# Power of its row count by which a class, or a source, loses weight.
EXPONENTS: Mapping[Balance, float] = {"none": 0.0, "sqrt": 0.5, "full": 1.0}


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
    source_exponent = EXPONENTS[balance.source_balance]
    shares = [n_of_part[part] ** -source_exponent for part in parts]
    total_of_label: dict[str | None, float] = defaultdict(float)
    for label, share in zip(labels, shares, strict=True):
        total_of_label[label] += share
    class_exponent = EXPONENTS[balance.class_balance]
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
