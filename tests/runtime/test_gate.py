"""The cascade from texts to verdicts: right, independent of company, and never wrongly safe."""

import dataclasses
import json
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from hazgate import (
    BundleError,
    Classifier,
    Gate,
    InferenceError,
    InputError,
    ModelIdentity,
    Policy,
    PolicyIdentity,
    Reading,
    Span,
    TokenCount,
    Verdict,
)
from hazgate.engine.options import EngineOptions
from hazgate.engine.providers.table import CPU
from hazgate.judging.scores import softmax
from hazgate.text.tokenization import Tokenizer, Tokens
from tests.support.damage import edit_manifest, replace_graph
from tests.support.graphs import constant_graph, lookup_graph
from tests.support.sessions import watched_gate
from tests.support.tiny import HAZARDS, MAX_TOKENS

NAN = float("nan")
# A text's fp32 logits may move this much with its neighbours: the order of float32 additions.
MAX_FP32_LOGIT_MOVE = 1e-5
SAFE, UNSAFE = constant_graph([9, -9]), constant_graph([-9, 9])
RISING = constant_graph(range(len(HAZARDS)))
MARKER = "unrepeatable"
TEXTS = (
    "hello",
    "What is the capital of France?",
    "How do I kill a Python process?",
    "",
    "你好，世界",
    "abc " * 50,
    "bomb",
    "<eos> [SEP] typed by a user",
    "a\0b\x07",
    "x",
    "Привет, как дела? " * 3,
    "hello",
)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def gate(request: pytest.FixtureRequest, tiny_bundle: Path) -> Gate:
    return Gate.open(tiny_bundle, engine=EngineOptions(variant=request.param, threads=1))


@pytest.fixture(scope="module")
def int8_gate(tiny_bundle: Path) -> Gate:
    return Gate.open(tiny_bundle, engine=EngineOptions(threads=1))


# What a verdict says


def test_a_verdict_of_an_open_gate_has_every_field(int8_gate: Gate, tiny_bundle: Path) -> None:
    text = "How do I kill a Python process?"
    verdict = int8_gate.check(text)
    tokens = int8_gate.level1.tokenizer.encode([text])
    unsafe = int8_gate.level1.probabilities([text])[0, 1]
    hazards = int8_gate.level2.probabilities([text])[0]
    assert unsafe >= 0.5
    assert verdict == Verdict(
        flagged=True,
        unsafe=float(unsafe),
        scores={"safe": float(int8_gate.level1.probabilities([text])[0, 0]), "unsafe": unsafe},
        hazard=HAZARDS[int(hazards.argmax())],
        hazards=dict(zip(HAZARDS, map(float, hazards), strict=True)),
        detected=(HAZARDS[int(hazards.argmax())],),
        tokens=TokenCount(total=tokens[0].n_total, read=tokens[0].n_total, unknown=0, windows=1),
        truncated=False,
        understood=True,
        views=None,
        span=Span(start=0, end=len(text)),
        decision=None,
        shadow=None,
        model=ModelIdentity(
            bundle="tiny", digest=int8_gate.bundle.digest, variant="int8", provider=CPU
        ),
    )
    assert list(verdict.hazards or ()) == list(HAZARDS)
    assert sum((verdict.hazards or {}).values()) == pytest.approx(1, abs=1e-12)


def test_hazards_are_null_unless_level_1_flags_or_the_caller_asks(int8_gate: Gate) -> None:
    by_default = int8_gate.check_many(TEXTS)
    asked_for = int8_gate.check_many(TEXTS, all_levels=True)
    assert {verdict.flagged for verdict in by_default} == {True, False}
    for verdict, asked in zip(by_default, asked_for, strict=True):
        assert verdict.flagged == asked.flagged == (verdict.unsafe >= 0.5)
        assert asked.hazard in HAZARDS
        assert asked.hazards is not None
        if verdict.flagged:
            assert verdict == asked
        else:
            assert verdict.hazard is None
            assert verdict.hazards is None
            assert verdict == dataclasses.replace(asked, hazard=None, hazards=None, detected=None)


def test_a_verdict_as_plain_data_survives_json(gate: Gate) -> None:
    for verdict in gate.check_many(TEXTS):
        data = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        fields = json.loads(json.dumps(dataclasses.asdict(verdict)))
        # Without levels beside the cascade a verdict is what it was before there were any.
        assert fields.pop("levels") == {}
        assert fields.pop("decided_after") is None
        assert fields.pop("language") is None
        assert data == fields
        assert list(data) == list(fields)


def test_labels_stand_for_the_logits_in_their_order(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level1", UNSAFE)
    replace_graph(bundle_copy, "level2", RISING)
    verdict = Gate.open(bundle_copy, engine=EngineOptions(threads=1)).check("anything")
    assert verdict.unsafe == softmax(np.array([-9, 9], dtype=np.float32))[1]
    assert verdict.hazard == HAZARDS[-1]
    assert verdict.hazards is not None
    assert sorted(verdict.hazards.values()) == list(verdict.hazards.values())


def test_the_positive_label_is_found_by_name_and_not_by_place(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level1", UNSAFE)
    edit_manifest(
        bundle_copy, lambda data: data["levels"]["level1"].update(labels=["unsafe", "safe"])
    )
    assert not Gate.open(bundle_copy, engine=EngineOptions(threads=1)).check("anything").flagged


def test_an_empty_text_is_a_text_like_any_other(gate: Gate) -> None:
    verdict = gate.check("")
    assert verdict.tokens == TokenCount(total=0, read=0, unknown=0, windows=1)
    assert not verdict.truncated
    assert 0 < verdict.unsafe < 1


def test_nul_and_control_characters_are_answered(gate: Gate) -> None:
    for text in ("\0", "a\0b", "\x07\x1b[2J"):
        assert gate.check(text).tokens.read > 0


# Independence of company


def test_verdicts_come_in_the_order_of_the_texts(int8_gate: Gate) -> None:
    verdicts = int8_gate.check_many(TEXTS)
    backwards = int8_gate.check_many(TEXTS[::-1])
    assert len({verdict.unsafe for verdict in verdicts}) > len(TEXTS) // 2
    assert backwards == verdicts[::-1]


def test_int8_verdicts_are_exactly_those_of_each_text_alone(int8_gate: Gate) -> None:
    alone = [int8_gate.check(text, all_levels=True) for text in TEXTS]
    assert int8_gate.check_many(TEXTS, all_levels=True) == alone


def test_fp32_runs_texts_together_and_int8_runs_them_alone(tiny_bundle: Path) -> None:
    n_runs = {}
    for variant in ("fp32", "int8"):
        opened = Gate.open(tiny_bundle, engine=EngineOptions(variant=variant, threads=1))
        runs: list[np.ndarray] = []
        watched_gate(opened, runs.append).check_many(TEXTS)
        n_runs[variant] = len(runs)
    n_windows = sum(len(t.windows) for t in opened.level1.tokenizer.encode(TEXTS))
    assert n_runs["int8"] == n_windows > len(TEXTS)
    assert n_runs["fp32"] < len(TEXTS)


@pytest.mark.parametrize("level", ["gate", "hazards"])
@pytest.mark.parametrize(
    "company",
    [
        pytest.param(TEXTS, id="together"),
        pytest.param(TEXTS[::-1], id="reordered"),
        pytest.param([*TEXTS, *["a much longer neighbour " * 20] * 9], id="long neighbours"),
        pytest.param([*TEXTS, *["x"] * 40], id="short neighbours"),
    ],
)
def test_logits_do_not_depend_on_neighbours(gate: Gate, company: Sequence[str], level: str) -> None:
    classifier = gate.level1 if level == "gate" else gate.level2
    limit = MAX_FP32_LOGIT_MOVE if classifier.variant == "fp32" else 0
    tokens = classifier.tokenizer.encode(company)
    alone = np.concatenate([classifier.window_logits([text])[0] for text in tokens])
    together = np.concatenate(classifier.window_logits(tokens))
    assert together.shape == (len(alone), len(classifier.labels))
    assert np.ptp(alone[:, 0]) > 100 * MAX_FP32_LOGIT_MOVE
    np.testing.assert_allclose(together, alone, rtol=0, atol=limit)


def test_a_batch_budget_changes_no_answer(tiny_bundle: Path) -> None:
    opened = Gate.open(tiny_bundle, engine=EngineOptions(variant="fp32", threads=1)).level1
    rows = [window.input_ids for text in opened.tokenizer.encode(TEXTS) for window in text.windows]
    expected = opened.logits_of_ids(rows)
    for max_batch_tokens in (1, 64, 10_000):
        changed = dataclasses.replace(opened, max_batch_tokens=max_batch_tokens)
        np.testing.assert_allclose(changed.logits_of_ids(rows), expected, atol=MAX_FP32_LOGIT_MOVE)


def test_eight_threads_get_the_answers_that_one_gets(gate: Gate) -> None:
    texts = [f"{text} {i}" for i in range(10) for text in TEXTS]
    expected = [gate.check(text, all_levels=True) for text in texts]
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda text: gate.check(text, all_levels=True), texts))
    assert answers == expected


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_several_workers_give_the_answers_that_one_gives(tiny_bundle: Path, variant: str) -> None:
    texts = [*TEXTS, *(f"{text} {i}" for i, text in enumerate(TEXTS * 4))]
    alone = Gate.open(tiny_bundle, engine=EngineOptions(variant=variant, threads=1))
    shared = Gate.open(tiny_bundle, engine=EngineOptions(variant=variant, threads=1, workers=3))

    expected = alone.check_many(texts, all_levels=True)

    assert shared.check_many(texts, all_levels=True) == expected


def test_a_run_that_fails_on_a_worker_is_an_error(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level1", constant_graph([NAN, NAN]))
    with pytest.raises(InferenceError, match="not finite"):
        Gate.open(bundle_copy, engine=EngineOptions(workers=2)).check_many(list(TEXTS))


def test_fewer_than_one_worker_is_refused(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="workers must be at least 1, got 0"):
        Gate.open(tiny_bundle, engine=EngineOptions(workers=0))


def test_no_texts_have_no_verdicts(gate: Gate) -> None:
    assert gate.check_many([]) == []
    assert gate.check_many((), all_levels=True) == []
    assert gate.level1.logits([]).shape == (0, 2)
    assert gate.level2.probabilities([]).shape == (0, len(HAZARDS))


# Input that is refused


def test_a_text_in_the_place_of_a_list_is_refused(int8_gate: Gate) -> None:
    with pytest.raises(InputError, match="expected a sequence of strings, got one string"):
        int8_gate.check_many("hello")


def test_a_classifier_refuses_a_text_in_the_place_of_a_list(int8_gate: Gate) -> None:
    with pytest.raises(InputError):
        int8_gate.level1.logits("hello")


def test_an_iterator_of_texts_is_never_taken_for_no_texts(int8_gate: Gate) -> None:
    texts = cast(Sequence[str], iter(["hello", "bomb"]))
    assert int8_gate.check_many(texts) == int8_gate.check_many(["hello", "bomb"])


@pytest.mark.parametrize("value", [None, b"hello", 7, ["hello"]], ids=repr)
def test_what_is_no_string_is_refused(int8_gate: Gate, value: object) -> None:
    with pytest.raises(InputError, match=f"text 1: expected a string, got {type(value).__name__}"):
        int8_gate.check_many(["hello", cast(str, value)])
    with pytest.raises(InputError, match="text 0: expected a string"):
        int8_gate.check(cast(str, value))


def test_a_lone_surrogate_is_refused(int8_gate: Gate) -> None:
    with pytest.raises(InputError, match="text 0: lone surrogate at character 3"):
        int8_gate.check("abc\ud800")


def test_a_refused_request_is_a_value_error_to_whoever_knows_no_hazgate(int8_gate: Gate) -> None:
    with pytest.raises(ValueError, match="lone surrogate"):
        int8_gate.check("\udc00")


TEN_MEGABYTES = 10_000_000
TWO_MEGABYTES = 2 * 1024 * 1024


class _Untouched(Tokenizer):
    """A tokenizer that must not be reached."""

    def __init__(self) -> None:
        pass

    def encode_checked(self, texts: Sequence[str]) -> list[Tokens]:
        raise AssertionError("a text was tokenised before its size was checked")


def test_ten_megabytes_are_refused_before_anything_reads_them(int8_gate: Gate) -> None:
    untouched = dataclasses.replace(int8_gate.level1, tokenizer=_Untouched())
    guarded = dataclasses.replace(int8_gate, level1=untouched)
    with pytest.raises(InputError) as caught:
        guarded.check_many(["hello", MARKER + "x" * TEN_MEGABYTES])
    message = str(caught.value)
    assert message.startswith(f"text 1: {TEN_MEGABYTES + len(MARKER)} bytes, at most 1048576")
    assert MARKER not in message


def test_two_megabytes_are_answered_where_the_limit_allows_them(tiny_bundle: Path) -> None:
    opened = Gate.open(
        tiny_bundle,
        engine=EngineOptions(threads=1),
        reading=Reading(max_text_bytes=TWO_MEGABYTES, long_texts="truncate"),
    )
    text = "hello " * (TWO_MEGABYTES // 6)
    verdict = opened.check(text)
    assert verdict.truncated
    assert verdict.tokens.read == MAX_TOKENS - 2
    assert verdict.tokens.total > TWO_MEGABYTES // 6
    assert verdict.unsafe == opened.check("hello " * 200).unsafe


def test_the_limit_counts_bytes_and_not_characters(tiny_bundle: Path) -> None:
    opened = Gate.open(
        tiny_bundle, engine=EngineOptions(threads=1), reading=Reading(max_text_bytes=4)
    )
    assert opened.check("\U0001f600").tokens.total > 0
    with pytest.raises(InputError, match="text 0: 6 bytes, at most 4"):
        opened.check("你好")


# Levels and their tokenizers


def test_equal_tokenizers_are_loaded_once(int8_gate: Gate) -> None:
    assert int8_gate.level2.tokenizer is int8_gate.level1.tokenizer


def test_a_level_with_another_limit_has_a_tokenizer_of_its_own(
    bundle_copy: Path, int8_gate: Gate
) -> None:
    edit_manifest(
        bundle_copy,
        lambda data: data["levels"]["level2"]["tokenizer"].update(
            window_tokens=8, overlap_tokens=2
        ),
    )
    opened = Gate.open(bundle_copy, engine=EngineOptions(threads=1))
    assert opened.level2.tokenizer is not opened.level1.tokenizer
    text = "hello " * 20
    verdict = opened.check(text, all_levels=True)
    reference = int8_gate.check(text, all_levels=True)
    assert verdict.unsafe == reference.unsafe
    assert verdict.hazards != reference.hazards
    # Level 2 reads the same characters, in windows of its own.
    assert verdict.tokens == reference.tokens
    assert not verdict.truncated


def test_levels_that_treat_special_tokens_differently_do_not_share(bundle_copy: Path) -> None:
    edit_manifest(
        bundle_copy,
        lambda data: data["levels"]["level2"]["tokenizer"].update(special_tokens_in_text="token"),
    )
    opened = Gate.open(bundle_copy, engine=EngineOptions(threads=1))
    (as_text,) = opened.level1.tokenizer.encode(["<eos>"])
    (as_token,) = opened.level2.tokenizer.encode(["<eos>"])
    assert as_text.n_total > as_token.n_total == 1


def test_separate_tokenizers_keep_texts_and_hazards_together(bundle_copy: Path) -> None:
    edit_manifest(
        bundle_copy, lambda data: data["levels"]["level2"]["tokenizer"].update(window_tokens=60)
    )
    opened = Gate.open(bundle_copy, engine=EngineOptions(threads=1))
    assert opened.check_many(TEXTS) == [opened.check(text) for text in TEXTS]


# Threshold, variant, provider


def test_the_threshold_is_reached_by_equality(tiny_bundle: Path, int8_gate: Gate) -> None:
    unsafe = int8_gate.check("hello").unsafe
    at, above = (
        Gate.open(tiny_bundle, engine=EngineOptions(threads=1), threshold=limit).check("hello")
        for limit in (unsafe, float(np.nextafter(unsafe, 1)))
    )
    assert at.flagged
    assert at.hazard is not None
    assert not above.flagged
    assert above.hazard is None


def test_the_bundles_threshold_holds_unless_another_is_given(bundle_copy: Path) -> None:
    edit_manifest(bundle_copy, lambda data: data["cascade"].update(threshold=0.999))
    assert not any(
        v.flagged for v in Gate.open(bundle_copy, engine=EngineOptions(threads=1)).check_many(TEXTS)
    )
    overridden = Gate.open(bundle_copy, engine=EngineOptions(threads=1), threshold=0.001)
    assert all(v.flagged for v in overridden.check_many(TEXTS))


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.1, NAN, float("inf")])
def test_a_threshold_out_of_range_is_refused(tiny_bundle: Path, threshold: float) -> None:
    with pytest.raises(BundleError, match="threshold must be between 0 and 1"):
        Gate.open(tiny_bundle, engine=EngineOptions(threads=1), threshold=threshold)


def test_an_unknown_variant_is_refused_with_those_that_are_there(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="no variant 'int4', only fp32, int8"):
        Gate.open(tiny_bundle, engine=EngineOptions(variant="int4"))


def test_a_variant_of_one_level_only_is_refused(bundle_copy: Path) -> None:
    edit_manifest(bundle_copy, lambda data: data["levels"]["level2"]["variants"].pop("fp32"))
    with pytest.raises(BundleError, match="level2 has no variant 'fp32'"):
        Gate.open(bundle_copy, engine=EngineOptions(variant="fp32"))


def test_a_provider_that_a_variant_was_not_made_for_is_refused(
    bundle_copy: Path,
) -> None:
    def for_gpus_only(data: dict) -> None:  # type: ignore[type-arg]
        for level in data["levels"].values():
            level["variants"]["int8"]["execution_providers"] = ["MIGraphXExecutionProvider"]

    edit_manifest(bundle_copy, for_gpus_only)
    with pytest.raises(BundleError, match=f"made for MIGraphXExecutionProvider, not for {CPU}"):
        Gate.open(bundle_copy)


def test_an_unknown_level_is_refused_with_those_that_are_there(int8_gate: Gate) -> None:
    with pytest.raises(BundleError, match="tiny has no level 'level3', only level1, level2"):
        Classifier.of(int8_gate.bundle, "level3")


def test_variants_name_themselves_and_differ(tiny_bundle: Path) -> None:
    fp32, int8 = (
        Gate.open(tiny_bundle, engine=EngineOptions(variant=name, threads=1)).check("hello")
        for name in ("fp32", "int8")
    )
    assert (fp32.model.variant, int8.model.variant) == ("fp32", "int8")
    assert fp32.unsafe != int8.unsafe


# A failure is never a safe verdict


def test_nan_of_the_gate_is_an_error(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level1", constant_graph([NAN, NAN]))
    with pytest.raises(InferenceError, match="not finite"):
        Gate.open(bundle_copy, engine=EngineOptions(threads=1)).check("hello")


def test_nan_of_the_hazards_alone_is_an_error_once_they_are_read(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level2", constant_graph([NAN] * len(HAZARDS)))
    replace_graph(bundle_copy, "level1", SAFE)
    shut = Gate.open(bundle_copy, engine=EngineOptions(threads=1))
    assert not shut.check("hello").flagged
    with pytest.raises(InferenceError, match="not finite"):
        shut.check("hello", all_levels=True)
    replace_graph(bundle_copy, "level1", UNSAFE)
    with pytest.raises(InferenceError, match="not finite"):
        Gate.open(bundle_copy, engine=EngineOptions(threads=1)).check("hello")


def test_a_graph_with_other_labels_than_the_manifests_does_not_open(bundle_copy: Path) -> None:
    replace_graph(bundle_copy, "level2", constant_graph([0] * 8))
    with pytest.raises(BundleError, match=r"level2-int8\.onnx: expected one float output"):
        Gate.open(bundle_copy, engine=EngineOptions(threads=1))


@pytest.mark.parametrize("level", ["level1", "level2"])
def test_a_run_that_fails_is_an_error(bundle_copy: Path, level: str) -> None:
    replace_graph(bundle_copy, "level1", UNSAFE)
    n_labels = 2 if level == "level1" else len(HAZARDS)
    # Every text begins with the id 2, which this table does not have.
    replace_graph(bundle_copy, level, lookup_graph([[0.0] * n_labels]))
    with pytest.raises(InferenceError, match=f"{level}-int8.onnx failed on shape"):
        Gate.open(bundle_copy, engine=EngineOptions(threads=1)).check("hello")


@pytest.mark.parametrize(
    "graph",
    [constant_graph([NAN, 0]), lookup_graph([[0.0, 0.0]])],
    ids=["not finite", "refused by onnxruntime"],
)
def test_no_inference_error_quotes_the_text(bundle_copy: Path, graph: bytes) -> None:
    replace_graph(bundle_copy, "level1", graph)
    with pytest.raises(InferenceError) as caught:
        Gate.open(bundle_copy, engine=EngineOptions(threads=1)).check(f"{MARKER} hello")
    assert MARKER not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "texts",
    [[f"{MARKER}\ud800"], [MARKER * 100], [MARKER, None]],
    ids=["surrogate", "size", "None"],
)
def test_no_input_error_quotes_the_text(tiny_bundle: Path, texts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Gate.open(
            tiny_bundle, engine=EngineOptions(threads=1), reading=Reading(max_text_bytes=100)
        ).check_many(texts)
    assert MARKER not in "".join(traceback.format_exception(caught.value))


# Policies


POLICY = """schema_version = 1
name = "toy"
mode = "loose"
[gate]
controversial = 0.4
unsafe = 0.5
[hazards]
default = { action = "block", threshold = 0.05 }
[tenants.lenient.gate]
controversial = 0.9
unsafe = 0.99
"""


def test_a_policy_decides_and_the_verdict_names_it(int8_gate: Gate) -> None:
    policy = Policy.parse(POLICY.encode())
    plain = int8_gate.check_many(TEXTS)
    verdicts = int8_gate.with_policy(policy).check_many(TEXTS)
    assert [v.flagged for v in verdicts] == [v.flagged for v in plain]
    assert {v.decision.action for v in verdicts if v.decision} == {"allow", "block"}
    for verdict in verdicts:
        assert verdict.decision is not None
        assert verdict.decision.policy == PolicyIdentity(
            name="toy", digest=policy.digest, tenant=None
        )
        assert (verdict.decision.action == "block") == verdict.flagged


def test_a_tenant_has_rules_of_its_own(int8_gate: Gate) -> None:
    gate = int8_gate.with_policy(Policy.parse(POLICY.encode()))
    assert any(v.flagged for v in gate.check_many(TEXTS))
    assert not any(v.flagged for v in gate.check_many(TEXTS, tenant="lenient"))


def test_a_shadow_changes_nothing_but_its_own_field(int8_gate: Gate) -> None:
    policy = Policy.parse(POLICY.encode())
    strict = Policy.parse(
        POLICY.replace("controversial = 0.4\nunsafe = 0.5", "controversial = 0.01\nunsafe = 0.02")
        .replace("[hazards]", "[hazards]\nS7_hate = { always = 0.01 }")
        .encode()
    )
    for decides in (None, policy):
        without = int8_gate.with_policy(decides).check_many(TEXTS)
        beside = int8_gate.with_policy(decides, shadow=strict).check_many(TEXTS)
        assert all(v.shadow and v.shadow.action == "block" for v in beside)
        assert [dataclasses.replace(v, shadow=None) for v in beside] == without


def test_a_policy_and_a_threshold_contradict_each_other(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="either policy or threshold"):
        Gate.open(tiny_bundle, policy=Policy.parse(POLICY.encode()), threshold=0.5)


def test_a_policy_for_other_hazards_is_refused(int8_gate: Gate) -> None:
    text = POLICY.replace("[hazards]", '[hazards]\nS99_other = { action = "flag" }')
    with pytest.raises(BundleError, match="S99_other"):
        int8_gate.with_policy(Policy.parse(text.encode()))


def test_confidences_are_shares_of_what_is_unsafe(int8_gate: Gate) -> None:
    verdict = int8_gate.check("hello", all_levels=True)
    assert verdict.confidences is not None
    assert sum(verdict.confidences.values()) == pytest.approx(verdict.unsafe)
