"""A token level reads a text of any length and names spans of its characters."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import BundleError, Classifier, EngineOptions, Gate, InferenceError, InputError
from hazgate.engine.buckets import Bucket
from hazgate.engine.session import OrtSession
from hazgate.engine.static_shapes import BucketedSession
from hazgate.text.reading import Reading
from hazgate.token_classifier import TokenClassifier, TokenResult
from tests.support.damage import edit_manifest, replace_file
from tests.support.graphs import constant_graph, tagging_graph
from tests.support.tagger import LABELS, LEVEL, TYPES, tag_table, write_tagger

ENGINE = EngineOptions(threads=1)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tagger(tiny_bundle, tmp_path_factory.mktemp("tagger"))


@pytest.fixture(scope="module")
def tagger(bundle: Path) -> TokenClassifier:
    return TokenClassifier.open(bundle, engine=ENGINE)


def _spans(text: str, result: TokenResult) -> list[tuple[str, str]]:
    return [(span.label, text[span.start : span.end]) for span in result.spans]


def test_spans_are_named_by_type_with_their_characters(tagger: TokenClassifier) -> None:
    text = "so good morning, world!"
    result = tagger.find(text)
    assert _spans(text, result) == [("NAME", "good morning"), ("ADDRESS", "world")]
    name, address = result.spans
    assert name.score > 0.99
    # P(I-ADDRESS) + P(B-ADDRESS) of logits 0, 0, 0, 0, 1.
    assert address.score == pytest.approx((1 + np.e) / (4 + np.e))
    assert (result.level, result.truncated, result.understood) == (LEVEL, False, True)
    assert tagger.types == TYPES
    assert tagger.labels == LABELS


def test_where_words_are_tagged_the_first_token_of_each_decides(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = write_tagger(tiny_bundle, tmp_path)
    # "good-world" is three tokens of one word.
    text = "or good-world or good!"
    by_token = TokenClassifier.open(folder, engine=ENGINE).find(text)
    assert _spans(text, by_token) == [("NAME", "good"), ("ADDRESS", "world"), ("NAME", "good")]
    edit_manifest(folder, lambda data: data["levels"][LEVEL].update(tagged="words"))
    by_word = TokenClassifier.open(folder, engine=ENGINE).find(text)
    assert _spans(text, by_word) == [("NAME", "good-world"), ("NAME", "good!")]
    assert by_word.spans[0].score == by_token.spans[0].score


def test_the_result_is_plain_json_values(tagger: TokenClassifier) -> None:
    data = tagger.find("good").to_dict()
    assert list(data) == ["level", "spans", "tokens", "truncated", "understood", "model"]
    (span,) = data["spans"]
    assert {**span, "score": 1} == {"label": "NAME", "start": 0, "end": 4, "score": 1}
    assert data["model"]["bundle"] == "tagger"


@pytest.mark.parametrize("text", ["", " ", "\r\n", "other words"])
def test_a_text_with_nothing_to_find_has_no_span(tagger: TokenClassifier, text: str) -> None:
    assert tagger.find(text).spans == ()


def test_no_texts_have_no_results(tagger: TokenClassifier) -> None:
    assert tagger.find_many([]) == []


def test_offsets_are_code_points_of_the_text_as_written(tagger: TokenClassifier) -> None:
    for before in ("\U0001f469\u200d\U0001f4bb ", "e\u0301 ", "\u05e9\u05dc\u05d5\u05dd ", "a\r\n",
                   "\u202eabc\u202c ", "\U0001f1e9\U0001f1ea "):  # fmt: skip
        text = f"{before}good morning"
        assert _spans(text, tagger.find(text)) == [("NAME", "good morning")], repr(before)


@given(st.lists(st.sampled_from(["good", "morning", "world", "or", "so"]), max_size=30))
def test_a_long_text_has_the_spans_that_one_window_would_have(
    tagger: TokenClassifier, words: list[str]
) -> None:
    text = " ".join(words)
    # One window of all words: the graph reads each word by itself, so that none depends on it.
    spec = dataclasses.replace(tagger.spec.tokenizer, window_tokens=64, overlap_tokens=0)
    wide = type(tagger.tokenizer)(b"", spec, loaded=tagger.tokenizer)
    whole = dataclasses.replace(tagger, tokenizer=wide).find(text)
    assert tagger.find(text).spans == whole.spans


@given(st.lists(st.lists(st.sampled_from(["good", "world", "or"]), max_size=15), max_size=5))
def test_a_text_has_the_same_spans_in_any_company(
    tagger: TokenClassifier, texts: list[list[str]]
) -> None:
    said = [" ".join(words) for words in texts]
    assert tagger.find_many(said) == [tagger.find(text) for text in said]


def test_workers_give_the_same_spans(bundle: Path, tagger: TokenClassifier) -> None:
    several = TokenClassifier.open(bundle, engine=EngineOptions(threads=1, workers=2))
    texts = ["good morning", "world " * 9, "", "so"]
    assert several.find_many(texts) == tagger.find_many(texts)


def test_token_logits_are_those_of_the_texts_own_tokens(tagger: TokenClassifier) -> None:
    logits = tagger.token_logits("good or world")
    table = np.array(tag_table(), dtype=np.float32)
    np.testing.assert_array_equal(logits, table[[4, 7, 6]])


def test_a_text_whose_beginning_is_read_says_that_it_is_truncated(bundle: Path) -> None:
    reading = Reading(long_texts="truncate")
    result = TokenClassifier.open(bundle, engine=ENGINE, reading=reading).find("or " * 6 + "good")
    assert (result.truncated, result.spans, result.tokens.read) == (True, (), 6)


@pytest.mark.parametrize(
    ("reading", "text", "expected"),
    [
        (Reading(long_texts="reject"), "or " * 7, "at most 6 fit into one window"),
        (Reading(max_text_bytes=4), "good or", "7 bytes, at most 4"),
        (Reading(max_text_tokens=8), "or " * 9, "9 tokens, at most 8"),
        (Reading(), "\ud800", "lone surrogate"),
    ],
)
def test_a_text_that_is_not_taken_is_named(
    bundle: Path, reading: Reading, text: str, expected: str
) -> None:
    tagger = TokenClassifier.open(bundle, engine=ENGINE, reading=reading)
    with pytest.raises(InputError, match=expected):
        tagger.find_many(["or", text])


def test_one_text_in_place_of_several_is_refused(tagger: TokenClassifier) -> None:
    with pytest.raises(InputError, match="got one string"):
        tagger.find_many("good")


def test_a_level_of_texts_is_refused_and_names_its_own_class(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"level1 gives labels of a text.* Classifier\.open"):
        TokenClassifier.open(tiny_bundle, "level1", engine=ENGINE)


def test_a_classifier_refuses_a_token_level_and_names_its_class(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"entities is a token level.* TokenClassifier\.open"):
        Classifier.open(bundle, engine=ENGINE)


def test_a_gate_refuses_a_token_level_alone_and_names_its_class(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"entities stands alone.* TokenClassifier\.open"):
        Gate.open(bundle, engine=ENGINE)


def test_a_graph_that_gives_logits_of_texts_is_refused(bundle: Path, tmp_path: Path) -> None:
    wrong = Path(shutil.copytree(bundle, tmp_path / "wrong"))
    replace_file(wrong, "entities-int8.onnx", constant_graph([0.0] * 5))
    with pytest.raises(BundleError, match=r"expected one float output logits \[batch, sequence, 5"):
        TokenClassifier.open(wrong, engine=ENGINE)


def test_a_graph_that_gives_logits_of_tokens_is_refused_for_texts(tmp_path: Path) -> None:
    file = tmp_path / "graph.onnx"
    file.write_bytes(tagging_graph(tag_table()))
    with pytest.raises(BundleError, match=r"expected one float output logits \[batch, 5\]"):
        OrtSession(file, kind="portable", n_labels=5, threads=1)


def test_logits_of_tokens_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "graph.onnx"
    file.write_bytes(tagging_graph(tag_table()))
    session = OrtSession(file, kind="portable", n_labels=5, threads=1, per_token=True)
    ids = np.array([[4, 5]])
    assert session.run(ids, np.ones_like(ids)).shape == (1, 2, 5)
    table = tag_table()
    table[4][0] = np.nan
    file.write_bytes(tagging_graph(table))
    session = OrtSession(file, kind="portable", n_labels=5, threads=1, per_token=True)
    with pytest.raises(InferenceError, match="not finite"):
        session.run(ids, np.ones_like(ids))


def test_fixed_shapes_cut_padding_off_each_row_and_each_token(tmp_path: Path) -> None:
    file = tmp_path / "graph.onnx"
    file.write_bytes(tagging_graph(tag_table()))
    session = OrtSession(file, kind="portable", n_labels=5, threads=1, per_token=True)
    bucketed = BucketedSession({Bucket(2, 8): [session]}, pad_token_id=0)
    ids = np.array([[4, 5, 6], [6, 5, 4], [4, 4, 4]])
    np.testing.assert_array_equal(
        bucketed.run(ids, np.ones_like(ids)), np.array(tag_table(), dtype=np.float32)[ids]
    )


def test_a_bundle_of_another_version_is_refused(bundle: Path, tmp_path: Path) -> None:
    wrong = Path(shutil.copytree(bundle, tmp_path / "wrong"))
    edit_manifest(wrong, lambda data: data.update(schema_version=2))
    with pytest.raises(BundleError, match="expected 3, got 2"):
        TokenClassifier.open(wrong, engine=ENGINE)
