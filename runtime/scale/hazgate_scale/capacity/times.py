"""Measured service times: one JSON document per model and machine."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hazgate.bundle.manifest import Batching
from hazgate.documents.decode import absent_if_none, decode, spelt
from hazgate.documents.problems import list_problems
from hazgate.errors import InputError

SCHEMA_VERSION = 1
PACKAGED = Path(__file__).parent / "times"

Unit = Literal["core", "gpu"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The median time of one row of `tokens`, special tokens included, alone in its run."""

    tokens: int
    ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelTimes:
    """One level: points in ascending order of tokens, and the command that measured them."""

    points: tuple[Point, ...]
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpread:
    """Variation of runs of one length: percentiles of their time over its median."""

    p5: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VariantTimes:
    """Service times and sizes of one variant.

    Attributes:
        batching: rows that may share a run, see `hazgate.bundle.manifest.VariantSpec`.
        level1: Level 1's times.
        level2: Level 2's.
        spread: variation of both.
        text_ms: time of a text outside the model: tokenising, queueing, the verdict.
        bundle_bytes: size of the bundle's files that this variant needs.
        cold_start_s: time from the start of a process to its first verdict.
        rss_bytes: resident set of a process after its first answers.
        unshared_bytes: the part that is not shared with other processes of the host.
    """

    batching: Batching
    level1: LevelTimes = field(metadata=spelt("gate"))
    level2: LevelTimes = field(metadata=spelt("hazards"))
    spread: RunSpread
    text_ms: float
    bundle_bytes: int
    cold_start_s: float
    rss_bytes: int
    unshared_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Windows:
    """Windows into which texts are cut, see `hazgate.bundle.manifest.TokenizerSpec`."""

    special_tokens: int
    window_tokens: int
    overlap_tokens: int
    close_tokens: int | None
    sentences_from_tokens: int | None = field(default=None, metadata=absent_if_none())


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceTimes:
    """Measurements of a model on a machine, the input of a capacity plan.

    A worker is one engine: a process on `units_per_worker` cores, or on one GPU.
    """

    schema_version: int
    model: str
    date: str
    machine: str
    unit: Unit
    units_per_worker: int
    windows: Windows
    variants: Mapping[str, VariantTimes]

    @classmethod
    def load(cls, file: Path) -> "ServiceTimes":
        """Read the service times in a file.

        Raises:
            InputError: the file cannot be read, or has wrong fields; names all of them.
        """
        try:
            data = file.read_bytes()
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror}") from error
        return parse_times(data, str(file))

    @classmethod
    def of_model(cls, name: str) -> "ServiceTimes":
        """Read service times that come with this package; see `packaged_models`.

        Raises:
            InputError: the package has none of that name.
        """
        found = packaged_models()
        if name not in found:
            raise InputError(
                f"no service times of model {name!r} here; choose one of {', '.join(found)}"
            )
        return cls.load(PACKAGED / f"{name}.json")


def packaged_models() -> list[str]:
    """List the models whose service times come with this package."""
    return sorted(file.stem for file in PACKAGED.glob("*.json"))


def parse_times(data: bytes, name: str) -> ServiceTimes:
    """Parse service times from a JSON document.

    Args:
        data: the document.
        name: name of the document in messages.

    Raises:
        InputError: the document is not valid; names every problem.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not a JSON document: {error}") from error
    problems: list[str] = []
    times = decode(ServiceTimes, document, problems)
    if times is not None:
        problems += _contradictions(times)
    if times is None or problems:
        raise InputError(f"{name} has no valid service times:{list_problems(problems)}")
    return times


def _contradictions(times: ServiceTimes) -> Iterator[str]:
    if times.schema_version != SCHEMA_VERSION:
        yield f"$.schema_version: expected {SCHEMA_VERSION}, got {times.schema_version}"
    if times.units_per_worker < 1:
        yield f"$.units_per_worker: must be at least 1, got {times.units_per_worker}"
    yield from _wrong_windows(times.windows)
    if not times.variants:
        yield "$.variants: must name at least one"
    for name, variant in times.variants.items():
        yield from _wrong_variant(f"$.variants.{name}", variant)


def _wrong_windows(windows: Windows) -> Iterator[str]:
    path = "$.windows"
    if windows.special_tokens < 0:
        yield f"{path}.special_tokens: must not be negative, got {windows.special_tokens}"
    if windows.overlap_tokens < 0:
        yield f"{path}.overlap_tokens: must not be negative, got {windows.overlap_tokens}"
    least = windows.special_tokens + windows.overlap_tokens
    if windows.window_tokens <= least:
        yield (
            f"{path}.window_tokens: must be over {least}, overlap and special tokens, "
            f"got {windows.window_tokens}"
        )
    close = windows.close_tokens
    if close is not None and not windows.special_tokens < close < windows.window_tokens:
        yield (
            f"{path}.close_tokens: must lie between special_tokens and window_tokens, got {close}"
        )
    if windows.sentences_from_tokens is not None and (
        close is None or not close < windows.sentences_from_tokens
    ):
        yield (
            f"{path}.sentences_from_tokens: must be more than close_tokens, "
            f"got {windows.sentences_from_tokens} with {close}"
        )


def _wrong_variant(path: str, variant: VariantTimes) -> Iterator[str]:
    for key, level in (("gate", variant.level1), ("hazards", variant.level2)):
        yield from _wrong_points(f"{path}.{key}.points", level.points)
    spread = variant.spread
    # Written so that NaN is refused, here and below.
    if not 0 < spread.p5 <= 1 <= spread.p95 <= spread.p99 < math.inf:
        yield f"{path}.spread: must be 0 < p5 <= 1 <= p95 <= p99"
    if not 0 <= variant.text_ms < math.inf:
        yield f"{path}.text_ms: must be finite and not negative, got {variant.text_ms}"
    for name in ("bundle_bytes", "cold_start_s", "rss_bytes", "unshared_bytes"):
        value = getattr(variant, name)
        if not 0 < value < math.inf:
            yield f"{path}.{name}: must be positive and finite, got {value}"
    if variant.unshared_bytes > variant.rss_bytes:
        yield f"{path}.unshared_bytes: must not be over rss_bytes"


def _wrong_points(path: str, points: tuple[Point, ...]) -> Iterator[str]:
    if len(points) < 2:
        yield f"{path}: must be at least two"
    for i, point in enumerate(points):
        if not 0 < point.ms < math.inf:
            yield f"{path}[{i}].ms: must be positive and finite, got {point.ms}"
        if point.tokens < 1:
            yield f"{path}[{i}].tokens: must be at least 1, got {point.tokens}"
        if i and point.tokens <= points[i - 1].tokens:
            yield f"{path}[{i}].tokens: must be more than before, got {point.tokens}"
        if i and point.ms < points[i - 1].ms:
            yield f"{path}[{i}].ms: must not be less than of fewer tokens, got {point.ms}"
