"""An `operating_point.json`: windows and thresholds that its team chose for a multi-label head.

The form is version 2 of the sidecar that vllm-project/semantic-router reads: its field names and
its only allowed values are taken from there. Each field is applied, compared with the files that
it belongs to, or known to change no score.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tokenizers import Tokenizer

from hazgate.documents.decode import decode
from hazgate.documents.files import read_bytes
from hazgate.documents.jsonl import parse_json
from hazgate.documents.problems import list_problems
from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.sources import Fetched

OPERATING_POINT_FILE = "operating_point.json"
_VERSION = 2
# The one meaning that each of these may have, which is the runtime's own.
_MEANINGS = {
    "score_type": "independent_sigmoid",
    "comparison": "score >= threshold",
    "input_policy.strategy": "overlapping_content_windows",
    "input_policy.aggregation": "per-label maximum sigmoid over all covering windows",
    "input_policy.positions": "reset for each window",
    "input_policy.padding_side": "right",
    "input_policy.padding_attention_mask": 0,
    "input_policy.tokenization": (
        "Tokenize once without truncation; slice original content token IDs and restore the "
        "tokenizer special-token envelope for each window."
    ),
    "input_policy.overflow": "reject",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadOperatingPoint:
    """Windows and thresholds of a multi-label head.

    Attributes:
        labels: the labels, in the order of the outputs.
        thresholds: the probability from which each label holds, in the same order.
        window_tokens: tokens of a window, special ones included.
        overlap_tokens: tokens of the text that a window shares with the next.
        max_document_tokens: tokens of the longest text that was tried; longer texts are read in
            more windows.
        sha256: digest of the file.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    window_tokens: int
    overlap_tokens: int
    max_document_tokens: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _InputPolicy:
    strategy: str
    window_tokens_including_special_tokens: int
    content_tokens_per_window: int
    stride_content_tokens: int
    overlap_content_tokens: int
    max_document_tokens_including_special_tokens: int
    aggregation: str
    positions: str
    padding_side: str
    pad_token_id: int
    padding_attention_mask: int
    special_prefix_ids: tuple[int, ...]
    special_suffix_ids: tuple[int, ...]
    # How other engines were run: neighbours and order change no score here.
    reference_window_batch_size: int
    batch_order: str
    tokenization: str
    overflow: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Artifact:
    role: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Onnx:
    file: str
    execution_provider: str
    max_execution_tokens: int
    artifacts: tuple[_Artifact, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Execution:
    """An engine that the team proved; hazgate proves its own."""

    provider: str
    precision: str
    weights_file: str
    onnx: _Onnx | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    version: int
    model_weights_sha256: str
    model_config_sha256: str
    tokenizer_sha256: str
    score_type: str
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    comparison: str
    input_policy: _InputPolicy
    executions: tuple[_Execution, ...]


def read_operating_point(source: Fetched, activation: Activation) -> HeadOperatingPoint:
    """Read the operating point beside a whole checkpoint, and check that it belongs to it.

    Args:
        source: the checkpoint's files.
        activation: the head's, as the recipe says.

    Raises:
        SourceError: there is none; a field is unknown, missing or has a value that hazgate does
            not compute; or its digests, tokens or windows are not those of the files.
    """
    subject = f"{source.id}: {OPERATING_POINT_FILE}"
    text = read_bytes(source.directory / OPERATING_POINT_FILE, error=SourceError)
    data = parse_json(text, source=subject, error=SourceError)
    version = data.get("version") if isinstance(data, Mapping) else None
    if version != _VERSION:
        raise SourceError(f"{subject}: expected version {_VERSION}, got {version}")
    problems: list[str] = []
    file = decode(_File, data, problems)
    if file is not None:
        problems.extend(_meaning_problems(data))
        problems.extend(_window_problems(file.input_policy))
        problems.extend(_threshold_problems(file, activation))
        problems.extend(_identity_problems(file, source))
    if file is None or problems:
        raise SourceError(f"{subject} cannot be applied:{list_problems(problems)}")
    return HeadOperatingPoint(
        labels=file.labels,
        thresholds=file.thresholds,
        window_tokens=file.input_policy.window_tokens_including_special_tokens,
        overlap_tokens=file.input_policy.overlap_content_tokens,
        max_document_tokens=file.input_policy.max_document_tokens_including_special_tokens,
        sha256=source.files[OPERATING_POINT_FILE],
    )


def _meaning_problems(data: Mapping[str, object]) -> list[str]:
    policy = data["input_policy"]
    assert isinstance(policy, Mapping)
    found = {**data, **{f"input_policy.{name}": value for name, value in policy.items()}}
    return [
        f"$.{name}: expected {wanted!r}, got {found[name]!r}"
        for name, wanted in _MEANINGS.items()
        if found[name] != wanted
    ]


def _window_problems(policy: _InputPolicy) -> list[str]:
    special = len(policy.special_prefix_ids) + len(policy.special_suffix_ids)
    content, overlap = policy.content_tokens_per_window, policy.overlap_content_tokens
    window = policy.window_tokens_including_special_tokens
    problems = []
    if not 0 <= overlap < content or policy.stride_content_tokens != content - overlap:
        problems.append(
            f"$.input_policy.stride_content_tokens: {policy.stride_content_tokens} is not "
            f"{content} tokens less an overlap of {overlap}"
        )
    if window != content + special:
        problems.append(
            f"$.input_policy.window_tokens_including_special_tokens: {window} is not {content} "
            f"and {special} special tokens"
        )
    if policy.max_document_tokens_including_special_tokens < window:
        problems.append(
            "$.input_policy.max_document_tokens_including_special_tokens: is less than one window"
        )
    return problems


def _threshold_problems(file: _File, activation: Activation) -> list[str]:
    problems = []
    if activation != "sigmoid":
        problems.append(
            f"$.score_type: is for sigmoid heads, the level's activation is {activation}"
        )
    if len(file.labels) != len(file.thresholds):
        problems.append(
            f"$.thresholds: {len(file.thresholds)} for {len(file.labels)} labels, expected one each"
        )
    problems.extend(
        f"$.thresholds[{i}]: expected a number above 0 and below 1, got {value}"
        for i, value in enumerate(file.thresholds)
        if not (math.isfinite(value) and 0 < value < 1)
    )
    return problems


def _identity_problems(file: _File, source: Fetched) -> list[str]:
    """Compare with the files that lie beside it."""
    problems = [
        f"$.{field}: is for another {name} ({stated[:12]}...), this one has {found[:12]}..."
        for field, name, stated in (
            ("model_weights_sha256", "model.safetensors", file.model_weights_sha256),
            ("model_config_sha256", "config.json", file.model_config_sha256),
            ("tokenizer_sha256", "tokenizer.json", file.tokenizer_sha256),
        )
        if (found := source.files.get(name, "none")) != stated
    ]
    config = source.directory / "config.json"
    if config.is_file():
        data = parse_json(
            read_bytes(config, error=SourceError), source=str(config), error=SourceError
        )
        pad = data.get("pad_token_id") if isinstance(data, Mapping) else None
        if pad != file.input_policy.pad_token_id:
            problems.append(
                f"$.input_policy.pad_token_id: {file.input_policy.pad_token_id}, config.json has "
                f"{pad}"
            )
    if (source.directory / "tokenizer.json").is_file():
        problems.extend(_special_token_problems(file.input_policy, source))
    return problems


def _special_token_problems(policy: _InputPolicy, source: Fetched) -> list[str]:
    tokenizer = Tokenizer.from_file(str(source.directory / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    whole, bare = tokenizer.encode("a").ids, tokenizer.encode("a", add_special_tokens=False).ids
    wanted = [*policy.special_prefix_ids, *bare, *policy.special_suffix_ids]
    if whole == wanted:
        return []
    return [
        f"$.input_policy.special_prefix_ids, special_suffix_ids: 'a' would be {wanted}, the "
        f"tokenizer reads {whole}"
    ]
