"""A text behind a context: the tokenizer's template for pairs, and spans of the text alone."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from hazgate import BundleError, EngineOptions, InputError, TokenClassifier
from hazgate.text.reading import Reading
from tests.support.damage import edit_manifest, replace_file
from tests.support.tagger import LEVEL, write_tagger
from tests.support.tokenizers import CLS, GOOD, MORNING, SEP, WORLD

ENGINE = EngineOptions(threads=1)
_PIECE = {"Sequence": {"id": "A", "type_id": 0}}


def _special(name: str) -> dict[str, object]:
    return {"SpecialToken": {"id": name, "type_id": 0}}


def _write(
    tiny_bundle: Path, folder: Path, *, pairs: bool = True, family: str = "modernbert"
) -> Path:
    """Write the tagger with a template for pairs, [CLS] context [SEP] text [SEP]."""
    bundle = write_tagger(tiny_bundle, folder)
    document = json.loads((bundle / "tokenizer.json").read_text(encoding="utf-8"))
    second = {"Sequence": {"id": "B", "type_id": 0}}
    document["post_processor"]["pair"] = (
        [_special("[CLS]"), _PIECE, _special("[SEP]"), second, _special("[SEP]")]
        if pairs
        else [_PIECE, second]
    )
    replace_file(bundle, "tokenizer.json", json.dumps(document).encode())
    edit_manifest(bundle, lambda data: data["levels"][LEVEL].update(family=family))
    return bundle


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tiny_bundle, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def tagger(bundle: Path) -> TokenClassifier:
    return TokenClassifier.open(bundle, engine=ENGINE)


def _watched(tagger: TokenClassifier) -> tuple[TokenClassifier, list[list[int]]]:
    """Return the level, and the rows of ids that it runs."""
    rows: list[list[int]] = []
    session = tagger.session

    class Watching:
        def run(
            self,
            input_ids: np.ndarray,
            attention_mask: np.ndarray,
            may_leave: np.ndarray | None = None,
        ) -> np.ndarray:
            rows.extend(row[mask == 1].tolist() for row, mask in zip(
                input_ids, attention_mask, strict=True))  # fmt: skip
            return session.run(input_ids, attention_mask, may_leave)

    return dataclasses.replace(tagger, session=Watching()), rows


def test_the_context_stands_before_the_text_in_the_template_for_pairs(
    tagger: TokenClassifier,
) -> None:
    watched, rows = _watched(tagger)
    watched.find("good morning", context="world")
    assert rows == [[CLS, WORLD, SEP, GOOD, MORNING, SEP]]


def test_spans_are_of_the_text_alone(tagger: TokenClassifier) -> None:
    text = "so good"
    result = tagger.find(text, context="world")
    (span,) = result.spans
    assert (span.label, text[span.start : span.end]) == ("NAME", "good")
    assert result.tokens.total == 2


def test_a_long_text_is_cut_and_each_window_has_the_whole_context(tagger: TokenClassifier) -> None:
    watched, rows = _watched(tagger)
    text = "or or or or good morning or world"
    result = watched.find(text, context="world")
    assert all(row[:3] == [CLS, WORLD, SEP] and row[-1] == SEP for row in rows)
    # Of eight tokens of a window, four are left for the text; two are shared.
    assert [len(row) for row in rows] == [8, 8, 8]
    assert result.spans == tagger.find(text).spans


def test_a_text_with_and_one_without_a_context_share_a_call(tagger: TokenClassifier) -> None:
    texts, contexts = ["good", "world", ""], ["or", None, "or"]
    together = tagger.find_many(texts, contexts=contexts)
    assert together == [
        tagger.find(text, context=context) for text, context in zip(texts, contexts, strict=True)
    ]
    assert together[2].spans == ()


def test_an_empty_context_is_a_context(tagger: TokenClassifier) -> None:
    watched, rows = _watched(tagger)
    watched.find("good", context="")
    assert rows == [[CLS, SEP, GOOD, SEP]]


def test_a_context_that_leaves_no_room_is_refused(tagger: TokenClassifier) -> None:
    # Two words fit behind three, but no window of more words could share two with the next.
    assert tagger.find("good or", context="or or or").spans
    with pytest.raises(InputError, match=r"context 1: with it, 2 of 8 tokens .* needs 3 at least"):
        tagger.find_many(["or", "good or or"], contexts=[None, "or or or"])
    with pytest.raises(InputError, match="0 of 8 tokens of a window are left"):
        tagger.find("good", context="or " * 20)


@pytest.mark.parametrize(
    ("context", "expected"),
    [("\ud800", "context 0: lone surrogate"), ("or " * 9, "context 0: 27 bytes, at most 20")],
)
def test_a_context_that_is_not_taken_is_named(bundle: Path, context: str, expected: str) -> None:
    tagger = TokenClassifier.open(bundle, engine=ENGINE, reading=Reading(max_text_bytes=20))
    with pytest.raises(InputError, match=expected):
        tagger.find("good", context=context)


@pytest.mark.parametrize("contexts", [[], ["or", "or"], "o"])
def test_contexts_that_are_not_one_for_each_text_are_refused(
    tagger: TokenClassifier, contexts: list[str]
) -> None:
    with pytest.raises(InputError, match="a context for each of 1 texts"):
        tagger.find_many(["good"], contexts=contexts)


def test_a_family_with_segments_refuses_a_context(tiny_bundle: Path, tmp_path: Path) -> None:
    tagger = TokenClassifier.open(_write(tiny_bundle, tmp_path, family="bert"), engine=ENGINE)
    with pytest.raises(
        InputError, match="entities is a bert model, and pairs are read by modernbert only"
    ):
        tagger.find("good", context="or")


def test_a_tokenizer_without_a_template_for_pairs_refuses_a_context(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    tagger = TokenClassifier.open(_write(tiny_bundle, tmp_path, pairs=False), engine=ENGINE)
    with pytest.raises(InputError, match="the tokenizer of entities has no template for pairs"):
        tagger.find("good", context="or")


def test_an_unknown_level_is_named(bundle: Path) -> None:
    with pytest.raises(BundleError, match="no level 'spam'"):
        TokenClassifier.open(bundle, "spam", engine=ENGINE)
