"""Operating points are applied as their team wrote them, or refused by field."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from hazgate.judging.scores import Activation
from hazgate_export.errors import SourceError
from hazgate_export.model.operating_point import HeadOperatingPoint, read_operating_point
from tests.support.adapters import fetched
from tests.support.operating_points import operating_point, write_operating_point
from tests.support.tiny_tokenizers import write_tokenizer

LABELS = ("violence", "weapons", "privacy")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"pad_token_id": 0}), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def _document(folder: Path) -> dict[str, Any]:
    return operating_point(
        folder, labels=LABELS, thresholds=(0.31, 0.5, 0.07), content_tokens=2046, overlap=1023
    )


def _read(folder: Path, activation: Activation = "sigmoid") -> HeadOperatingPoint:
    return read_operating_point(fetched(folder, "vllm-sr/hazard"), activation)


def test_windows_and_thresholds_are_read(folder: Path) -> None:
    write_operating_point(folder, _document(folder))
    point = _read(folder)
    assert point.labels == LABELS
    assert point.thresholds == (0.31, 0.5, 0.07)
    assert (point.window_tokens, point.overlap_tokens) == (2048, 1023)
    assert point.max_document_tokens == 32768


def test_weights_that_were_converted_here_are_not_those_that_it_was_chosen_for(
    folder: Path,
) -> None:
    """The digests are of published files: one that a conversion left in the folder is none."""
    write_operating_point(folder, _document(folder))
    source = fetched(folder, "vllm-sr/hazard")
    files = {name: digest for name, digest in source.files.items() if "safetensors" not in name}
    published = dataclasses.replace(source, files={**files, "pytorch_model.bin": "1" * 64})
    with pytest.raises(SourceError, match=r"model_weights_sha256: is for another model\.safet"):
        read_operating_point(published, "sigmoid")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("version", 1, "expected version 2, got 1"),
        ("version", 3, "expected version 2, got 3"),
        ("temperature", 1.2, "$.temperature: unknown field"),
        ("input_policy.close_windows", True, "$.input_policy.close_windows: unknown field"),
        ("executions.0.batch", 4, "$.executions[0].batch: unknown field"),
        ("comparison", "score > threshold", "$.comparison: expected 'score >= threshold'"),
        ("score_type", "softmax", "$.score_type: expected 'independent_sigmoid'"),
        ("input_policy.aggregation", "mean", "$.input_policy.aggregation"),
        ("input_policy.positions", "kept", "$.input_policy.positions"),
        ("input_policy.overflow", "truncate", "$.input_policy.overflow"),
        ("input_policy.padding_side", "left", "$.input_policy.padding_side"),
        ("input_policy.tokenization", "per window", "$.input_policy.tokenization"),
        ("input_policy.stride_content_tokens", 1024, "$.input_policy.stride_content_tokens"),
        ("input_policy.overlap_content_tokens", 2046, "$.input_policy.stride_content_tokens"),
        ("input_policy.window_tokens_including_special_tokens", 2047, "is not 2046 and 2 special"),
        ("input_policy.max_document_tokens_including_special_tokens", 9, "less than one window"),
        ("input_policy.pad_token_id", 3, "$.input_policy.pad_token_id: 3, config.json has 0"),
        ("input_policy.special_prefix_ids", [1], "special_prefix_ids"),
        ("thresholds", [0.1, 0.2], "$.thresholds: 2 for 3 labels"),
        ("thresholds", [0.1, 0.2, 1], "$.thresholds[2]: expected a number above 0 and below 1"),
        ("thresholds", [0, 0.2, 0.5], "$.thresholds[0]"),
        ("model_weights_sha256", "0" * 64, "$.model_weights_sha256: is for another model.safet"),
        ("model_config_sha256", "0" * 64, "$.model_config_sha256: is for another config.json"),
        ("tokenizer_sha256", "0" * 64, "$.tokenizer_sha256: is for another tokenizer.json"),
    ],
)
def test_another_value_is_refused_by_field(
    folder: Path, path: str, value: object, named: str
) -> None:
    document = copy.deepcopy(_document(folder))
    table: Any = document
    *parents, last = path.split(".")
    for key in parents:
        table = table[int(key)] if key.isdigit() else table[key]
    table[last] = value
    write_operating_point(folder, document)
    with pytest.raises(SourceError) as caught:
        _read(folder)
    assert named in str(caught.value)
    assert "vllm-sr/hazard: operating_point.json" in str(caught.value)


def test_a_missing_field_and_a_missing_file_are_refused(folder: Path) -> None:
    document = _document(folder)
    del document["input_policy"]["overlap_content_tokens"]
    write_operating_point(folder, document)
    with pytest.raises(SourceError, match="overlap_content_tokens: missing"):
        _read(folder)
    (folder / "operating_point.json").unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        _read(folder)


def test_a_head_with_one_label_a_text_has_no_such_thresholds(folder: Path) -> None:
    write_operating_point(folder, _document(folder))
    with pytest.raises(SourceError, match="the level's activation is softmax"):
        _read(folder, "softmax")
