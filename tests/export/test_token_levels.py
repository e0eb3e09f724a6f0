"""Token levels are built from adapters and checkpoints, and tag as PyTorch does."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast

from hazgate import Bundle, EngineOptions, InputError, TokenClassifier
from hazgate.doctor import diagnose
from hazgate.engine.kernels import instruction_set
from hazgate_export.build import Built, build
from hazgate_export.errors import RecipeError, SourceError, UnsupportedArchitecture
from hazgate_export.model.load import load_level
from hazgate_export.model.sources import LocalSources, fetch_levels
from hazgate_export.proof.agreement import measure_agreement
from hazgate_export.recipe_file import load_recipe
from hazgate_export.verify_bundle import verify_bundle
from tests.support.adapters import edit_json
from tests.support.damage import replace_file
from tests.support.token_models import (
    AUTHORED,
    DYNAMIC,
    FUSED,
    LABELS,
    LEVEL,
    PORTABLE,
    STATIC,
    TokenModel,
    write_token_adapter,
    write_token_checkpoint,
)

ENGINE = EngineOptions(threads=1)
TEXTS = (
    "My name is Ada Lovelace, mail ada@example.org!",
    "\U0001f469\u200d\U0001f4bb e\u0301 \u05e9\u05dc\u05d5\u05dd\r\nand more",
    "word " * 200,
)


def _build(model: TokenModel, folder: Path) -> Built:
    return build(load_recipe(model.recipe), folder / "bundle", LocalSources())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> TokenModel:
    return write_token_adapter(
        tmp_path_factory.mktemp("tokens"), "modernbert", variants=AUTHORED + PORTABLE
    )


@pytest.fixture(scope="module")
def built(written: TokenModel, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return _build(written, tmp_path_factory.mktemp("built"))


def _reference(model: TokenModel, text_ids: tuple[int, ...], folder: Path) -> np.ndarray:
    """Return the adapter-applied model's logits of a row of ids, [tokens, labels]."""
    loaded = load_recipe(model.recipe)
    sources = fetch_levels(loaded, [LEVEL], LocalSources(), folder)[LEVEL]
    recipe = loaded.recipe
    level = recipe.levels[LEVEL].model_copy(update={"labels": LABELS})
    recipe = recipe.model_copy(update={"levels": {LEVEL: level}})
    reference = load_level(sources, recipe, LEVEL)
    ids = torch.tensor([text_ids])
    with torch.inference_mode():
        logits = reference(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    return np.asarray(logits.float().numpy())


def test_every_variant_keeps_its_limits_over_the_tags_of_all_texts(built: Built) -> None:
    for parity in built.parities:
        assert parity.passed
        assert parity.max_abs_logit_diff <= 1e-4
        assert parity.n_tags is not None
        assert parity.n_tags > 20 * parity.n_texts
        assert parity.decisions_changed == 0


def test_a_bundle_says_that_its_level_gives_tags(built: Built) -> None:
    manifest = Bundle.open(built.bundle.root).manifest
    level = manifest.levels[LEVEL]
    assert manifest.schema_version == 3
    assert (level.output, level.outside, level.labels) == ("tokens", None, LABELS)
    assert level.pooling == "none"
    assert level.tags.types == ("NAME", "EMAIL")
    assert level.variants["cpu"].parity.n_tags == built.parities[0].n_tags
    readme = built.bundle.file("README.md").read_text(encoding="utf-8")
    assert "`entities` finds spans in a text: NAME, EMAIL." in readme
    assert 'TokenClassifier.open("path/to/this/directory")' in readme


@pytest.mark.parametrize("variant", ["cpu", "fp32"])
def test_the_runtime_gives_pytorchs_logits_of_each_token(
    built: Built, written: TokenModel, tmp_path: Path, variant: str
) -> None:
    engine = EngineOptions(threads=1, variant=variant)
    classifier = TokenClassifier.open(built.bundle.root, engine=engine)
    text = TEXTS[0]
    (tokens,) = classifier.tokenizer.encode([text])
    wanted = _reference(written, tokens.windows[0].input_ids, tmp_path)
    # One special token before a text and one behind it.
    np.testing.assert_allclose(classifier.token_logits(text), wanted[1:-1], atol=1e-4)


def test_spans_are_the_same_in_any_company_and_at_any_length(built: Built) -> None:
    classifier = TokenClassifier.open(built.bundle.root, engine=ENGINE)
    together = classifier.find_many(TEXTS)
    for text, result in zip(TEXTS, together, strict=True):
        alone = classifier.find(text)
        assert [(s.label, s.start, s.end) for s in alone.spans] == [
            (s.label, s.start, s.end) for s in result.spans
        ]
        assert all(0 <= s.start < s.end <= len(text) for s in result.spans)
    assert together[2].tokens.windows > 1


def test_verify_measures_the_same_again_from_stored_and_from_fresh_logits(
    built: Built, written: TokenModel
) -> None:
    stored = verify_bundle(built.bundle, None, LocalSources())
    assert stored == built.parities
    fresh = verify_bundle(built.bundle, load_recipe(written.recipe), LocalSources())
    assert [parity.n_tags for parity in fresh] == [parity.n_tags for parity in built.parities]
    assert all(parity.passed for parity in fresh)


def test_stored_logits_are_exact_in_few_digits(built: Built) -> None:
    document = json.loads(built.bundle.file("parity.json").read_text(encoding="utf-8"))
    rows = document["reference_logits"][LEVEL]
    # Those of the texts, and of rows of 1, 2, 3, 8, 31 and 64 tokens.
    assert len(rows) == (built.parities[0].n_tags or 0) + 1 + 2 + 3 + 8 + 31 + 64
    assert all(len(repr(x)) <= 16 for row in rows for x in row)


def test_a_host_is_checked_by_canaries_of_tokens(built: Built) -> None:
    diagnosis = diagnose(built.bundle.root, ENGINE)
    assert diagnosis.healthy
    (canaries,) = (check for check in diagnosis.checks if check.name == f"{LEVEL} canaries")
    assert canaries.status == "ok"


def test_canaries_of_another_model_are_noticed(built: Built, tmp_path: Path) -> None:
    wrong = Path(shutil.copytree(built.bundle.root, tmp_path / "wrong"))
    data = json.loads((wrong / "canaries.json").read_text(encoding="utf-8"))
    data["levels"][LEVEL][0]["logits"][-1] += 1.0
    replace_file(wrong, "canaries.json", json.dumps(data).encode())
    diagnosis = diagnose(wrong, ENGINE)
    assert not diagnosis.healthy


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_int8_of_tokens_does_not_depend_on_company(
    family: str, tmp_path: Path, few_proof_texts: None
) -> None:
    model = write_token_adapter(tmp_path, family, variants=STATIC + DYNAMIC)
    for parity in _build(model, tmp_path).parities:
        assert parity.max_invariance_diff == 0.0


@pytest.mark.skipif(instruction_set() is None, reason="hazgate-kernels is not installed")
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_fused_int8_of_tokens_is_equal_to_the_bit_in_any_company(
    family: str, tmp_path: Path, few_proof_texts: None
) -> None:
    model = write_token_adapter(tmp_path, family, variants=AUTHORED + FUSED)
    _, fused = _build(model, tmp_path).parities
    assert fused.max_invariance_diff == 0.0
    classifier = TokenClassifier.open(tmp_path / "bundle", engine=ENGINE)
    assert classifier.variant == "cpu-fused"
    assert classifier.find_many(TEXTS) == [classifier.find(text) for text in TEXTS]


def test_half_precision_of_tokens_is_measured_on_its_twin(
    tmp_path: Path, few_proof_texts: None
) -> None:
    half = """[variants.fp16]
graph = "portable"
precision = "fp16"
preflight = ["migraphx@1.23.2"]
parity = { max_abs_logit_diff = 0.5, max_changed_share = 0.2, max_invariance_diff = 0.5 }

"""
    model = write_token_adapter(tmp_path, "modernbert", variants=PORTABLE + half)
    assert all(parity.passed for parity in _build(model, tmp_path).parities)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_checkpoint_with_an_outside_label_builds(
    family: str, tmp_path: Path, few_proof_texts: None
) -> None:
    model = write_token_checkpoint(tmp_path, family, variants=AUTHORED + PORTABLE)
    built = _build(model, tmp_path)
    assert all(parity.passed for parity in built.parities)
    level = built.bundle.manifest.levels[LEVEL]
    assert (level.outside, level.tags.types) == ("supported", ("hallucinated",))
    spans = TokenClassifier.open(built.bundle.root, engine=ENGINE).find(TEXTS[0]).spans
    assert {span.label for span in spans} <= {"hallucinated"}


def test_a_pair_has_pytorchs_logits_of_the_second_texts_tokens(
    tmp_path: Path, few_proof_texts: None
) -> None:
    model = write_token_checkpoint(tmp_path, "modernbert")
    file = model.weights / "tokenizer.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    template = document["post_processor"]
    bos, first, eos = template["single"]
    second = {"Sequence": {"id": "B", "type_id": 0}}
    template["pair"] = [bos, first, eos, second, eos]
    file.write_text(json.dumps(document), encoding="utf-8")
    _build(model, tmp_path)
    classifier = TokenClassifier.open(tmp_path / "bundle", engine=ENGINE)
    context, answer = "Ada wrote to Grace.", "Grace wrote to Ada."
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model.weights)
    ids = tokenizer(context, answer, return_tensors="pt")["input_ids"]
    reference = AutoModelForTokenClassification.from_pretrained(
        model.weights, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        wanted = reference(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy()
    got = classifier.token_logits(answer, context=context)
    n_answer = len(tokenizer(answer)["input_ids"]) - 2
    np.testing.assert_allclose(got, wanted[-1 - n_answer : -1], atol=1e-4)


def test_a_tokenizer_without_a_template_for_pairs_takes_none(built: Built) -> None:
    classifier = TokenClassifier.open(built.bundle.root, engine=ENGINE)
    with pytest.raises(InputError, match="has no template for pairs"):
        classifier.find("an answer", context="a source")


@pytest.mark.parametrize("tagged", ["words", "tokens"])
def test_a_bundle_says_if_words_are_tagged(
    tmp_path: Path, few_proof_texts: None, tagged: str
) -> None:
    model = write_token_adapter(tmp_path, "bert")
    _recipe(_TOKENS, f'{_TOKENS}tagged = "{tagged}"\n')(model)
    level = _build(model, tmp_path).bundle.manifest.levels[LEVEL]
    assert level.tagged == ("words" if tagged == "words" else None)


def test_labelled_texts_are_refused_for_a_token_level(built: Built, written: TokenModel) -> None:
    with pytest.raises(RecipeError, match="measure spans with hazgate evaluate --level"):
        measure_agreement(built.bundle, load_recipe(written.recipe), [], n_texts=1, seed=0)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "deberta-v2"])
@pytest.mark.parametrize("write", [write_token_adapter, write_token_checkpoint])
def test_other_families_build_their_portable_graph(
    family: str, write: Callable[..., TokenModel], tmp_path: Path, few_proof_texts: None
) -> None:
    model = write(tmp_path, family, variants=PORTABLE + DYNAMIC)
    assert all(parity.passed for parity in _build(model, tmp_path).parities)
    assert TokenClassifier.open(tmp_path / "bundle", engine=ENGINE).find(TEXTS[0]).spans


def test_an_authored_graph_of_another_family_is_refused(tmp_path: Path) -> None:
    model = write_token_adapter(tmp_path, "roberta", variants=AUTHORED)
    with pytest.raises(UnsupportedArchitecture, match="expected one of bert, modernbert"):
        _build(model, tmp_path)


def test_an_adapter_without_a_task_builds_where_the_level_says_tokens(
    tmp_path: Path, few_proof_texts: None
) -> None:
    model = write_token_adapter(tmp_path, "bert")
    edit_json(model.weights / "adapter_config.json", task_type=None, modules_to_save=["classifier"])
    assert _build(model, tmp_path).parities[0].passed


def _recipe(old: str, new: str) -> Callable[[TokenModel], None]:
    def spoil(model: TokenModel) -> None:
        text = model.recipe.read_text(encoding="utf-8")
        assert old in text
        model.recipe.write_text(text.replace(old, new), encoding="utf-8")

    return spoil


def _config(**fields: object) -> Callable[[TokenModel], None]:
    return lambda model: edit_json(model.weights / "adapter_config.json", **fields)


def _labels(*labels: str) -> Callable[[TokenModel], None]:
    def spoil(model: TokenModel) -> None:
        numbers = {label: i for i, label in enumerate(labels)}
        file = model.weights / "label_mapping.json"
        file.write_text(json.dumps({"label_to_id": numbers}), encoding="utf-8")

    return spoil


_TOKENS = 'output = "tokens"\n'
REFUSED: dict[str, tuple[Callable[[TokenModel], None], type[Exception], str]] = {
    "columns": (
        _recipe(_TOKENS, f"{_TOKENS}columns = [0, 5]\n"),
        RecipeError,
        "levels.entities.columns: a token level has a body to itself; leave them out",
    ),
    "sigmoid": (
        _recipe(_TOKENS, f'{_TOKENS}activation = "sigmoid"\n'),
        RecipeError,
        "levels.entities.activation: a token has one tag",
    ),
    "thresholds": (
        _recipe(_TOKENS, f"{_TOKENS}thresholds = {{ NAME = 0.5 }}\n"),
        RecipeError,
        "levels.entities.thresholds: is for labels of a text; of a token level, a policy's rule",
    ),
    "positive": (
        _recipe(
            _TOKENS,
            f'{_TOKENS}positive = {{ label = "O", threshold = 0.5, threshold_source = "x" }}\n',
        ),
        RecipeError,
        "levels.entities.positive: is for labels of a text",
    ),
    "operating point": (
        _recipe(_TOKENS, f'{_TOKENS}operating_point = "operating_point.json"\n'),
        RecipeError,
        "levels.entities.operating_point: is for labels of a text",
    ),
    "words of a text": (
        _recipe(_TOKENS, 'tagged = "words"\n'),
        RecipeError,
        "levels.entities.tagged: is for a token level",
    ),
    "outside of a text": (
        _recipe(_TOKENS, 'outside = "O"\n'),
        RecipeError,
        "levels.entities.outside: is for a token level",
    ),
    "family": (
        _recipe('family = "bert"', 'family = "deberta-v2"'),
        SourceError,
        "the recipe says family deberta-v2, its config.json says bert",
    ),
    "outside that no label is": (
        _recipe(_TOKENS, f'{_TOKENS}outside = "none"\n'),
        RecipeError,
        "levels.entities.outside: 'none' is not a label of the level",
    ),
    "two O in the recipe": (
        _recipe(_TOKENS, f'{_TOKENS}labels = ["O", "O"]\n'),
        RecipeError,
        "levels.entities.labels: a label is given twice",
    ),
    "tags of another scheme": (
        _labels("O", "B-NAME", "I-NAME", "E-NAME", "S-NAME"),
        RecipeError,
        "expected O, B-TYPE or I-TYPE, got 'E-NAME', 'S-NAME'",
    ),
    "plain labels without outside": (
        _labels("a", "b", "c", "d", "e"),
        RecipeError,
        'name the label of tokens outside every span: outside = "a"',
    ),
    "an adapter of texts": (
        _config(task_type="SEQ_CLS"),
        SourceError,
        "task_type: expected TOKEN_CLS, got SEQ_CLS",
    ),
    "a class of texts": (
        _config(auto_mapping={"base_model_class": "BertForSequenceClassification"}),
        SourceError,
        "auto_mapping.base_model_class: expected a ForTokenClassification",
    ),
    "an adapter of tokens for texts": (
        _recipe(_TOKENS, ""),
        SourceError,
        'task_type: expected SEQ_CLS, got TOKEN_CLS; for a token level, write output = "tokens"',
    ),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> TokenModel:
    return write_token_adapter(tmp_path_factory.mktemp("sound"), "bert")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_token_level_is_refused_by_name(
    sound: TokenModel, tmp_path: Path, name: str
) -> None:
    folder = Path(shutil.copytree(sound.base.parent, tmp_path / "copy"))
    model = TokenModel(base=folder / "base", weights=folder / LEVEL, recipe=folder / "recipe.toml")
    spoil, error, expected = REFUSED[name]
    spoil(model)
    with pytest.raises(error) as refused:
        _build(model, tmp_path)
    assert expected in str(refused.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("level1", "cascade.level1: entities is a token level, which gives no label of a text"),
        ("level2", "cascade.level2: entities is a token level, which gives no label of a text"),
    ],
)
def test_a_cascade_over_a_token_level_is_refused(
    sound: TokenModel, tmp_path: Path, field: str, expected: str
) -> None:
    cascade = {"level1": "other", "level2": "other", field: LEVEL}
    text = sound.recipe.read_text(encoding="utf-8").replace(
        "[variants.cpu]",
        f'[cascade]\nlevel1 = "{cascade["level1"]}"\nlevel2 = "{cascade["level2"]}"\n'
        'positive_label = "O"\nthreshold = 0.5\nthreshold_source = "x"\n\n[variants.cpu]',
    )
    file = tmp_path / "recipe.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=expected):
        load_recipe(file)


def test_checkpoints_of_texts_and_tokens_are_told_apart(tmp_path: Path) -> None:
    model = write_token_checkpoint(tmp_path, "bert")
    edit_json(model.weights / "config.json", architectures=["BertForSequenceClassification"])
    with pytest.raises(SourceError, match='write output = "text" into the level'):
        _build(model, tmp_path)
    edit_json(model.weights / "config.json", architectures=["BertForTokenClassification"])
    _recipe('output = "tokens"\noutside = "supported"\n', "")(model)
    with pytest.raises(SourceError, match='write output = "tokens" into the level'):
        _build(model, tmp_path)
