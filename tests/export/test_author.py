"""Authored graphs answer as PyTorch does in every path that a batch can take."""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from hazgate import InferenceError
from hazgate.bundle.manifest import Batching
from hazgate.engine.session import OrtSession
from hazgate.text.batching import pad
from hazgate_export.author.choose import choose, row_error, smoothing_factors
from hazgate_export.author.families import (
    AuthoredWeights,
    BalancedWeights,
    balance_int8,
    modernbert_weights,
    read_weights,
    write_fp32,
    write_int8,
)
from hazgate_export.author.layers import quantize_table
from hazgate_export.author.linear import Float32, PerTokenInt8, StaticInt8
from hazgate_export.author.models.modernbert import ModernBert, read_modernbert
from hazgate_export.author.observe import SiteActivations
from hazgate_export.errors import ParityMissed, UnsupportedArchitecture
from hazgate_export.graphs.inspect_graph import summarise
from hazgate_export.model.architecture import ModernBertArchitecture
from hazgate_export.parity import Parity
from hazgate_export.proof.reference import torch_logits
from hazgate_export.proof.subject import Subject
from hazgate_export.proof.texts import Case
from hazgate_export.recipe import ParityLimits
from tests.support.families import AUTHORED, architecture_of, families
from tests.support.subjects import EXACT, judge_graph, random_cases, subject_of

OPSET = 18
N_LABELS = 9
VOCABULARY = 900
# Around a window of 8 to each side, four of them, and blocks of 8 queries.
LENGTHS = (1, 2, 7, 8, 9, 10, 16, 17, 31, 32, 33, 40, 41, 64, 129, 250)
CASES = random_cases(LENGTHS, seed=3, vocabulary=VOCABULARY)


def _model(config: PretrainedConfig, **changes: object) -> PreTrainedModel:
    """Random weights under which every layer moves the logits."""
    changed = copy.deepcopy(config)
    changed.num_labels = N_LABELS
    changed.update(changes)
    torch.manual_seed(7)
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
        changed, attn_implementation="eager"
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embeddings" not in name:
                parameter.normal_(0, 1.2 / parameter.shape[1] ** 0.5)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
    model.eval()
    return model


def _session(file: Path) -> OrtSession:
    return OrtSession(file, kind="authored", n_labels=N_LABELS, threads=2)


@dataclasses.dataclass(frozen=True)
class Authored:
    """A model, its weights as authored graphs take them, and its own answers."""

    model: PreTrainedModel
    weights: AuthoredWeights
    subject: Subject

    def judge(
        self, file: Path, limits: ParityLimits = EXACT, batching: Batching = "padded"
    ) -> Parity:
        return judge_graph(self.subject, file, limits, kind="authored", batching=batching)


def _authored(model: PreTrainedModel) -> Authored:
    subject = subject_of(CASES, torch_logits(model, CASES, "PyTorch"))
    return Authored(model, read_weights(model, architecture_of(model.config)), subject)


@pytest.fixture(scope="module")
def subjects() -> Mapping[str, Authored]:
    return {name: _authored(_model(families()[name].config)) for name in AUTHORED}


@pytest.mark.parametrize("family", AUTHORED)
def test_fp32_is_exact_alone_padded_and_batched(
    subjects: Mapping[str, Authored], tmp_path: Path, family: str
) -> None:
    write_fp32(subjects[family].weights, tmp_path / "graph.onnx", OPSET)
    parity = subjects[family].judge(tmp_path / "graph.onnx")
    assert parity.passed, parity.problems
    assert parity.max_abs_logit_diff < 2e-5


def test_cls_pooling_and_two_rotary_thetas_are_exact(tmp_path: Path) -> None:
    model = _model(
        families()["modernbert"].config, classifier_pooling="cls", local_rope_theta=10000
    )
    write_fp32(read_weights(model, architecture_of(model.config)), tmp_path / "graph.onnx", OPSET)
    assert _authored(model).judge(tmp_path / "graph.onnx").passed


@pytest.mark.parametrize("family", AUTHORED)
def test_a_layer_takes_few_nodes(
    subjects: Mapping[str, Authored], tmp_path: Path, family: str
) -> None:
    write_fp32(subjects[family].weights, tmp_path / "graph.onnx", OPSET)
    summary = summarise(tmp_path / "graph.onnx")
    n_layers = families()[family].config.num_hidden_layers
    assert summary.n_nodes < 25 * n_layers + 70
    assert summary.operators["LayerNormalization"] >= 2 * n_layers


def _mutants() -> dict[str, Callable[[ModernBert], ModernBert]]:
    def layers(**change: Callable[[Any], Any]) -> Callable[[ModernBert], ModernBert]:
        return lambda w: dataclasses.replace(
            w,
            layers=tuple(
                dataclasses.replace(layer, **{k: f(layer) for k, f in change.items()})
                for layer in w.layers
            ),
        )

    def whole(**change: Callable[[ModernBert], Any]) -> Callable[[ModernBert], ModernBert]:
        return lambda w: dataclasses.replace(w, **{k: f(w) for k, f in change.items()})

    return {
        "window one too narrow": whole(reach=lambda w: w.reach - 1),
        "window one too wide": whole(reach=lambda w: w.reach + 1),
        "all layers global": layers(layer_type=lambda _: "full_attention"),
        "all layers local": layers(layer_type=lambda _: "sliding_attention"),
        "cls instead of mean pooling": whole(pooling=lambda _: "cls"),
        "labels swapped": whole(classifier=lambda w: np.roll(w.classifier, 1, axis=1)),
        "GLU halves swapped": layers(
            activated=lambda x: x.multiplier, multiplier=lambda x: x.activated
        ),
        "score scale missing": layers(query=lambda x: x.query * 2),
        "rotary positions off by one": whole(
            rotary=lambda w: {
                kind: (np.roll(cos, 1, axis=0), np.flip(sin, axis=0).copy())
                for kind, (cos, sin) in w.rotary.items()
            }
        ),
        "final norm missing": whole(final_norm=lambda w: 1.5 * w.final_norm),
        "first layer normed": whole(
            layers=lambda w: (
                dataclasses.replace(w.layers[0], attention_norm=0.5 * w.layers[0].mlp_norm),
                *w.layers[1:],
            )
        ),
    }


@pytest.mark.parametrize("name", _mutants())
def test_a_mutated_graph_misses_the_limits(
    subjects: Mapping[str, Authored], tmp_path: Path, name: str
) -> None:
    model = subjects["modernbert"].model
    architecture = architecture_of(model.config)
    assert isinstance(architecture, ModernBertArchitecture)
    mutant = _mutants()[name](read_modernbert(model, architecture))
    write_fp32(modernbert_weights(mutant), tmp_path / "graph.onnx", OPSET)
    assert not subjects["modernbert"].judge(tmp_path / "graph.onnx").passed


@pytest.fixture(scope="module")
def balanced(
    subjects: Mapping[str, Authored], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, BalancedWeights]:
    folder = tmp_path_factory.mktemp("balanced")
    texts = [case.input_ids for case in CASES]
    return {
        name: balance_int8(subject.weights, texts, OPSET, folder, threads=2)
        for name, subject in subjects.items()
    }


@pytest.mark.parametrize("family", AUTHORED)
def test_smoothing_changes_no_float32_answer(
    subjects: Mapping[str, Authored],
    balanced: Mapping[str, BalancedWeights],
    tmp_path: Path,
    family: str,
) -> None:
    write_fp32(balanced[family].weights, tmp_path / "graph.onnx", OPSET)
    assert subjects[family].judge(tmp_path / "graph.onnx").passed


@pytest.mark.parametrize("family", AUTHORED)
@pytest.mark.parametrize("static_error", [0.0, 1.0])
def test_int8_is_bit_identical_among_texts_of_equal_length(
    subjects: Mapping[str, Authored],
    balanced: Mapping[str, BalancedWeights],
    tmp_path: Path,
    family: str,
    static_error: float,
) -> None:
    write_int8(
        balanced[family],
        tmp_path / "graph.onnx",
        OPSET,
        static_error=static_error,
        int8_error=1.0,
    )
    loose = ParityLimits(max_abs_logit_diff=1.0, max_changed_share=0.9, max_invariance_diff=1e-9)
    parity = subjects[family].judge(tmp_path / "graph.onnx", loose, "equal_length")
    assert parity.max_invariance_diff == 0.0
    assert 1e-4 < parity.max_abs_logit_diff < 1.0


@pytest.mark.parametrize("family", AUTHORED)
def test_the_rungs_go_from_static_to_float32(
    balanced: Mapping[str, BalancedWeights], tmp_path: Path, family: str
) -> None:
    def counts(static_error: float, int8_error: float) -> Mapping[str, int]:
        return write_int8(
            balanced[family],
            tmp_path / "graph.onnx",
            OPSET,
            static_error=static_error,
            int8_error=int8_error,
        )

    n_sites = 4 * families()[family].config.num_hidden_layers
    assert counts(1.0, 1.0) == {"StaticInt8": n_sites}
    assert counts(0.0, 1.0) == {"PerTokenInt8": n_sites}
    assert counts(0.0, 0.0) == {"Float32": n_sites}


def test_an_int8_graph_holds_int8_weights_and_an_int8_table(
    balanced: Mapping[str, BalancedWeights], tmp_path: Path
) -> None:
    file = tmp_path / "graph.onnx"
    write_int8(balanced["modernbert"], file, OPSET, static_error=1.0, int8_error=1.0)
    summary = summarise(file)
    assert summary.operators["com.microsoft.GatherBlockQuantized"] == 1
    assert summary.operators["com.microsoft.MatMulIntegerToFloat"] == 4 * (3 + 1 + 2 + 1)
    assert summary.weight_bytes["int8"] > 0.6 * summary.weight_bytes["float"]


def test_a_batch_gives_what_its_texts_give_alone_in_every_mix_of_lengths(
    subjects: Mapping[str, Authored], tmp_path: Path
) -> None:
    write_fp32(subjects["modernbert"].weights, tmp_path / "graph.onnx", OPSET)
    session = _session(tmp_path / "graph.onnx")
    alone = {case.id: session.run(*pad([case.input_ids], 0))[0] for case in CASES}

    @given(chosen=st.lists(st.sampled_from(CASES), min_size=1, max_size=6))
    @settings(deadline=None, max_examples=40)
    def check(chosen: Sequence[Case]) -> None:
        batch = session.run(*pad([case.input_ids for case in chosen], 0))
        assert np.abs(batch - np.stack([alone[case.id] for case in chosen])).max() < 1e-4

    check()


@pytest.mark.parametrize("family", AUTHORED)
def test_more_tokens_than_positions_are_an_error_and_never_an_answer(
    subjects: Mapping[str, Authored], tmp_path: Path, family: str
) -> None:
    n_positions = families()[family].config.max_position_embeddings
    write_fp32(subjects[family].weights, tmp_path / "graph.onnx", OPSET)
    session = _session(tmp_path / "graph.onnx")
    assert session.run(*pad([[5] * n_positions], 0)).shape == (1, N_LABELS)
    with pytest.raises(InferenceError, match=f"failed on shape \\(1, {n_positions + 1}\\)"):
        session.run(*pad([[5] * (n_positions + 1)], 0))


@pytest.mark.parametrize(
    ("family", "field", "value"),
    [
        ("modernbert", "hidden_activation", "relu"),
        ("modernbert", "classifier_activation", "silu"),
        ("modernbert", "attention_bias", True),
        ("modernbert", "mlp_bias", True),
        ("modernbert", "norm_bias", True),
        ("modernbert", "classifier_bias", True),
        ("bert", "hidden_act", "relu"),
        ("bert", "position_embedding_type", "relative_key"),
    ],
)
def test_an_unknown_configuration_is_refused_and_its_field_named(
    subjects: Mapping[str, Authored], family: str, field: str, value: object
) -> None:
    model = _model(families()[family].config)
    setattr(model.config, field, value)
    with pytest.raises(UnsupportedArchitecture, match=field):
        read_weights(model, architecture_of(model.config))


def test_every_unknown_field_is_named_at_once() -> None:
    model = _model(families()["modernbert"].config)
    model.config.hidden_activation = "relu"
    model.config.norm_bias = True
    with pytest.raises(UnsupportedArchitecture) as raised:
        read_weights(model, architecture_of(model.config))
    assert len(raised.value.problems) == 2


def test_a_family_without_a_graph_is_refused() -> None:
    config = families()["roberta"].config
    assert isinstance(config, RobertaConfig)
    with pytest.raises(UnsupportedArchitecture, match="model_type"):
        read_weights(_model(config), architecture_of(config))


WIDTHS = st.integers(min_value=1, max_value=40)


@given(seed=st.integers(min_value=0, max_value=2**32 - 1), width=WIDTHS)
@settings(deadline=None, max_examples=50)
def test_smoothing_factors_are_powers_of_two(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(20, width)).astype(np.float32) * random.lognormal(0, 3, size=width)
    rows[:, 0] = 0
    observed = SiteActivations(np.abs(rows).max(axis=0).astype(np.float32), rows.astype(np.float32))
    weight = random.normal(size=(width, 7)).astype(np.float32)
    factors = smoothing_factors(observed, [weight])
    assert np.isfinite(factors).all()
    assert (np.exp2(np.rint(np.log2(factors))) == factors).all()
    divided = observed.divided(factors)
    restored = divided.rows @ (weight * factors[:, None])
    assert np.allclose(restored, observed.rows @ weight, rtol=1e-5, atol=1e-4 * np.abs(rows).max())


def test_outliers_make_a_static_scale_worse_than_per_token_ones_and_both_are_measured() -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(64, 32)).astype(np.float32)
    even = random.normal(size=(500, 64)).astype(np.float32)
    mixed = even * np.where(np.arange(500) % 10 == 0, 50, 1)[:, None].astype(np.float32)
    for rows, wanted in ((even, StaticInt8), (mixed, PerTokenInt8)):
        observed = {"site": SiteActivations(np.abs(rows).max(axis=0), rows)}
        chosen = choose(observed, {"site": [weight]}, static_error=0.05, int8_error=0.05)
        assert isinstance(chosen["site"], wanted)
    static = StaticInt8(scale=float(np.abs(mixed).max()) / 127)
    assert row_error(mixed, [weight], static) > 5 * row_error(mixed, [weight], PerTokenInt8())
    assert row_error(mixed, [weight], Float32()) == 0


def test_an_embedding_table_that_int8_would_move_too_far_is_refused() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(50, 128)).astype(np.float32)
    uint8, scale = quantize_table(table)
    assert scale.shape == (50, 2)
    assert (
        np.abs((uint8.astype(np.float32) - 128) * np.repeat(scale, 64, axis=1) - table).max() < 0.02
    )
    table[7] *= 1e-3
    table[7, 5] = 100.0
    table[7, 6:64] = 0.39
    with pytest.raises(ParityMissed, match="embedding table"):
        quantize_table(table)
