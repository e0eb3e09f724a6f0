import dataclasses
from functools import partial
from pathlib import Path

import pytest

from benchmarks.harness.errors import RehearsalFailed
from benchmarks.harness.store import load, save
from benchmarks.rehearse import (
    EXPECTED,
    LIMITS,
    BuildLimits,
    ParameterCount,
    Rehearsal,
    StandinShape,
    count_parameters,
    excesses,
    for_random_weights,
    full_size,
    rehearse,
)
from hazgate_export.recipe_file import load_recipe
from tests.support.results import toy_header

RECIPES = Path(__file__).parents[2] / "export" / "recipes"
# Trainable parameters, counted by hand: LoRA of rank 4 on two layers of width 32 and 64,
# 4 × (4 × 64 + 2 × 96) × 2 = 3,584, on the pooler 4 × 64 = 256, and the head, 33 a label.
TINY_EXPECTED = {
    "level1": ParameterCount(total=0, trainable=3_584 + 256 + 2 * 33),
    "level2": ParameterCount(total=0, trainable=3_584 + 256 + 9 * 33),
}


def rehearsal(*, peak_rss_bytes: int, build_s: float) -> Rehearsal:
    return Rehearsal(
        header=toy_header(),
        limits=BuildLimits(peak_rss_bytes=100, build_s=10.0),
        peak_rss_bytes=peak_rss_bytes,
        standin_s=None,
        build_s=build_s,
        open_s=1.0,
        answer_s=1.0,
        bundle_bytes=1,
        parameters={"level1": ParameterCount(total=2, trainable=1)},
        steps=(),
        parity=(),
    )


def test_random_weights_widen_the_limits_of_int8_and_no_others(tmp_path: Path) -> None:
    widened = tmp_path / "recipe.toml"
    widened.write_text(for_random_weights(RECIPES / "mlcommons.toml"), encoding="utf-8")
    before = load_recipe(RECIPES / "mlcommons.toml").recipe
    after = load_recipe(widened).recipe
    for kept in ("fp32", "fp16"):
        assert after.variants[kept] == before.variants[kept]
    assert after.variants["int8"].parity.max_abs_logit_diff > 1
    assert after.variants["int8"].parity.max_invariance_diff == (
        before.variants["int8"].parity.max_invariance_diff
    )
    assert all((widened.parent / file).is_file() for file in after.int8_activations.files)


@pytest.mark.parametrize(
    ("peak", "seconds", "n_problems"),
    [(100, 10.0, 0), (101, 10.0, 1), (100, 10.1, 1), (101, 11.0, 2)],
    ids=["within", "memory", "time", "both"],
)
def test_limits_are_inclusive_and_each_excess_is_reported(
    peak: int, seconds: float, n_problems: int
) -> None:
    assert len(excesses(rehearsal(peak_rss_bytes=peak, build_s=seconds))) == n_problems


def test_results_survive_saving_and_loading(tmp_path: Path) -> None:
    written = rehearsal(peak_rss_bytes=1, build_s=1.0)
    save(written, tmp_path / "rehearsal.json")
    assert load(Rehearsal, tmp_path / "rehearsal.json") == written


def test_the_full_size_shape_has_the_published_parameter_counts(tmp_path: Path) -> None:
    """Count from configurations only; the slow rehearsal writes weights of this size."""
    from peft import LoraConfig

    recipe = load_recipe(RECIPES / "mlcommons.toml").recipe
    shape = full_size()
    shape.make_config().save_pretrained(tmp_path / "base")
    for level in recipe.levels:
        LoraConfig(
            task_type="SEQ_CLS",
            r=shape.lora_rank,
            target_modules=list(shape.lora_targets),
            inference_mode=True,
        ).save_pretrained(str(tmp_path / level))
    counted = count_parameters(tmp_path, recipe)
    assert counted == shape.expected == EXPECTED
    assert counted["level2"] == ParameterCount(total=314_302_482, trainable=6_765_321)


@pytest.fixture
def tiny_shape() -> StandinShape:
    from transformers import BertConfig

    return StandinShape(
        make_config=partial(
            BertConfig,
            vocab_size=6400,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=128,
            pad_token_id=0,
        ),
        lora_targets=("query", "key", "value", "dense"),
        lora_rank=4,
        expected=TINY_EXPECTED,
    )


@pytest.mark.slow
def test_a_rehearsal_builds_opens_and_answers(
    tiny_recipe: Path, tiny_shape: StandinShape, tmp_path: Path
) -> None:
    with pytest.raises(RehearsalFailed, match=r"level1 .* 3,906 trainable.*expected"):
        rehearse(tmp_path, tiny_recipe, tiny_shape, LIMITS, "x")
    assert not (tmp_path / "bundle").exists()

    counted = count_parameters(tmp_path / "standin", load_recipe(tiny_recipe).recipe)
    assert {k: v.trainable for k, v in counted.items()} == {
        k: v.trainable for k, v in TINY_EXPECTED.items()
    }
    shape = dataclasses.replace(tiny_shape, expected=counted)
    found = rehearse(tmp_path, tiny_recipe, shape, LIMITS, "x")
    assert found.standin_s is None
    assert found.peak_rss_bytes > 100_000_000
    assert found.build_s > 0
    assert {parity.variant for parity in found.parity} == {"fp32", "int8"}
    assert any("graph to ONNX" in step.line for step in found.steps)
    assert excesses(found) == []


@pytest.mark.slow
def test_a_failed_build_is_reported_with_its_last_words(
    tiny_recipe: Path, tiny_shape: StandinShape, tmp_path: Path
) -> None:
    strict = tmp_path / "strict.toml"
    text = tiny_recipe.read_text(encoding="utf-8").replace("= 1e-4", "= 1e-12")
    strict.write_text(text, encoding="utf-8")
    counted = dataclasses.replace(tiny_shape, expected={})
    with pytest.raises(RehearsalFailed):
        rehearse(tmp_path, strict, counted, LIMITS, "x")
    counts = count_parameters(tmp_path / "standin", load_recipe(strict).recipe)
    shape = dataclasses.replace(tiny_shape, expected=counts)
    with pytest.raises(RehearsalFailed, match=r"(?s)exit code 1 .*MISSED"):
        rehearse(tmp_path, strict, shape, LIMITS, "x")
