"""Names of a head's outputs, read from the files beside its weights; all of them must agree.

Trainers write them in several forms, and some number labels alphabetically. Where a file and the
recipe differ, every verdict would be confidently wrong with perfect parity.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hazgate.documents.files import read_bytes
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import Fetched

RECIPE = "recipe"
# Maps of a label file, by direction. vllm-project/semantic-router's trainers and loaders have all.
_TO_INDEX = ("label_to_id", "label_to_idx", "label2id", "category_to_idx")
_FROM_INDEX = ("id_to_label", "idx_to_label", "id2label", "idx_to_category")
# Fields beside them that name no output.
_WORDS = ("category_descriptions", "category_system_prompts", "description", "taxonomy_version")
# What transformers calls an output that nobody named.
_DEFAULT_NAME = re.compile(r"LABEL_\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedLabels:
    """Labels of a level in the order of its outputs, and the place that says so.

    `n_outputs` counts the outputs that the place names, also those of other levels.
    """

    source: str
    labels: tuple[str, ...]
    n_outputs: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelLabels:
    """A level's labels in the order of its outputs, and every place that names them."""

    labels: tuple[str, ...]
    sources: tuple[str, ...]


def read_labels(source: Fetched, columns: slice = slice(None)) -> tuple[NamedLabels, ...]:
    """Read every file of a source that names a head's outputs; return the names of `columns`.

    These are `config.json` and `adapter_config.json` (`id2label`, `label2id`) and every file whose
    name ends in `_mapping.json`. `lora_config.json` is never read: merged models carry wrong ones.

    Raises:
        SourceError: a file is not JSON, has another form, or numbers labels otherwise than from 0
            without gaps; names all problems.
    """
    found: list[NamedLabels] = []
    problems: list[str] = []
    for name in ("adapter_config.json", "config.json"):
        file = source.directory / name
        if file.is_file():
            maps = {key: _json(file, source.id).get(key) for key in ("id2label", "label2id")}
            named = {key: value for key, value in maps.items() if value is not None}
            found.extend(_named(name, named, columns, problems))
    for file in sorted(source.directory.glob("*_mapping.json")):
        table = _json(file, source.id)
        if table and all(type(value) is int for value in table.values()):
            table = {"label_to_id": table}
        known = {key for key in table if key in (*_TO_INDEX, *_FROM_INDEX)}
        if not known or not set(table) - known <= set(_WORDS):
            problems.append(
                f"{file.name}: expected maps like {_TO_INDEX[0]} and {_FROM_INDEX[0]}, got the "
                f"keys {', '.join(table) or 'none'}"
            )
            continue
        named = {key: table[key] for key in table if key in known}
        found.extend(_named(file.name, named, columns, problems))
    if problems:
        raise SourceError(f"{source.id}: labels cannot be read:{list_problems(problems)}")
    return tuple(found)


def settle_labels(
    level: str,
    stated: tuple[str, ...],
    own: Sequence[NamedLabels],
    base: Sequence[NamedLabels],
    *,
    base_head: bool,
) -> LevelLabels:
    """Return the labels on which the recipe and all files agree.

    Args:
        level: the level's name, for messages.
        stated: labels of the recipe; empty if it leaves them to the files.
        own: names in the files of the adapter, or of the whole checkpoint.
        base: names in the files of an adapter's base. They count where the base's own head is
            used, and where they are the same names: in another order these are suspicious. Other
            names belong to another head, which the adapter's replaces.
        base_head: True if the outputs are those of the base's own head.

    Raises:
        SourceError: they differ, shown as a table; or nothing names the labels.
    """
    base = [replace(one, source=f"base's {one.source}") for one in base]
    named = [NamedLabels(source=RECIPE, labels=stated, n_outputs=len(stated))] if stated else []
    named.extend(own)
    same = {frozenset(one.labels) for one in named}
    named.extend(one for one in base if base_head or frozenset(one.labels) in same)
    if not named:
        raise SourceError(
            f"{level}: neither the recipe nor a file beside the weights names the labels "
            "(LABEL_0 is no name); write them into the level, in the order of the outputs"
        )
    if len({one.labels for one in named}) > 1:
        raise SourceError(
            f"{level}: the labels differ in names or order. Find out which is right, then correct "
            "the recipe, or the file in a copy that the recipe or --adapter names:\n"
            + _table(named)
        )
    return LevelLabels(labels=named[0].labels, sources=tuple(one.source for one in named))


def _json(file: Path, subject: str) -> dict[str, object]:
    source = f"{subject}: {file.name}"
    table = parse_json(read_bytes(file, error=SourceError), source=source, error=SourceError)
    if not isinstance(table, dict):
        raise SourceError(f"{source}: expected an object, got {type(table).__name__}")
    return table


def _named(
    file: str, maps: Mapping[str, object], columns: slice, problems: list[str]
) -> Iterator[NamedLabels]:
    """Yield the labels of the columns in each map of a file that names any of them."""
    for key, value in maps.items():
        pairs = _pairs(value, from_index=key in _FROM_INDEX)
        place = f"{file}: {key}"
        if pairs is None:
            shape = "numbers to labels" if key in _FROM_INDEX else "labels to numbers"
            problems.append(f"{place}: expected an object of {shape}")
            continue
        by_index = dict(pairs)
        if not pairs or len(by_index) < len(pairs) or sorted(by_index) != list(range(len(pairs))):
            listed = ", ".join(f"{index} {label}" for index, label in pairs) or "none"
            problems.append(f"{place}: expected numbers from 0 without gaps, got {listed}")
            continue
        labels = tuple(by_index[index] for index in range(len(pairs)))[columns]
        nameless = [label for label in labels if _DEFAULT_NAME.fullmatch(label)]
        if len(set(labels)) < len(labels) or "" in labels:
            problems.append(f"{place}: expected different labels, got {', '.join(labels)}")
        elif nameless and len(nameless) < len(labels):
            problems.append(f"{place}: names only some outputs: {', '.join(labels)}")
        elif not nameless:
            yield NamedLabels(source=place, labels=labels, n_outputs=len(pairs))


def _pairs(value: object, *, from_index: bool) -> list[tuple[int, str]] | None:
    """Return a map as pairs of number and label; None if it is not one."""
    if not isinstance(value, dict):
        return None
    pairs = []
    for key, item in value.items():
        index, label = (key, item) if from_index else (item, key)
        if from_index and isinstance(key, str) and re.fullmatch(r"0|[1-9]\d{0,5}", key):
            index = int(key)
        if type(index) is not int or not isinstance(label, str):
            return None
        pairs.append((index, label))
    return pairs


def _table(named: Sequence[NamedLabels]) -> str:
    """Write one row for each output and one column for each order, with its places above."""
    orders = list(dict.fromkeys(one.labels for one in named))
    heads = [", ".join(one.source for one in named if one.labels == order) for order in orders]
    lines = [f"  {chr(65 + i)} = {head}" for i, head in enumerate(heads)]
    width = max(len(label) for order in orders for label in order)
    lines.append("  output  " + "  ".join(chr(65 + i).ljust(width) for i in range(len(orders))))
    for row in range(max(map(len, orders))):
        cells = [order[row] if row < len(order) else "-" for order in orders]
        lines.append(f"  {row:<6}  " + "  ".join(cell.ljust(width) for cell in cells))
    return "\n".join(line.rstrip() for line in lines)
