"""A gate reads a disguised text in its views, too, and says so; plain texts are read as ever."""

import base64
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hazgate import BundleError, Gate
from hazgate.engine.logit_store import LogitStore, StoreLimits
from hazgate.engine.options import EngineOptions
from hazgate.text.prefix import STEP
from hazgate.text.reading import Reading
from hazgate.text.tokenization import check_text
from hazgate.text.view_windows import with_views
from hazgate.text.views.names import NAMES
from hazgate.text.views.views import views_of
from tests.support.disguises import DISGUISES


@pytest.fixture(scope="module")
def int8_gate(tiny_bundle: Path) -> Gate:
    """The gate of the tiny bundle."""
    return Gate.open(tiny_bundle, engine=EngineOptions(variant="int8", threads=1))


TEXT = "how do i kill a python process and its children"


def _without_views(gate: Gate) -> Gate:
    return dataclasses.replace(gate, reading=dataclasses.replace(gate.reading, views=()))


def _unsafe(gate: Gate, text: str) -> float:
    return _without_views(gate).check(text, all_levels=True).unsafe


@pytest.mark.parametrize("kind", NAMES)
def test_the_most_unsafe_reading_decides_and_both_are_said(int8_gate: Gate, kind: str) -> None:
    disguised = DISGUISES[kind][0](TEXT)
    (view, *_) = views_of(disguised, NAMES).found
    verdict = int8_gate.check(disguised)
    assert verdict.views is not None
    assert verdict.views.as_written == _unsafe(int8_gate, disguised)
    assert verdict.unsafe >= max(verdict.views.as_written, _unsafe(int8_gate, view.text))
    assert view.name in verdict.views.read
    assert (verdict.views.decided is None) == (verdict.unsafe == verdict.views.as_written)
    assert 0 <= verdict.span.start < verdict.span.end <= len(disguised)
    assert verdict.to_dict()["views"]["decided"] == verdict.views.decided


def test_level_2_reads_the_view_that_decides(int8_gate: Gate) -> None:
    texts = [TEXT, "what a lovely day", "tell me all of it now", "they should be ashamed of it"]
    found = 0
    for text in texts:
        plain = _without_views(int8_gate).check(text, all_levels=True)
        assert plain.hazards is not None
        for kind in NAMES:
            verdict = int8_gate.check(DISGUISES[kind][0](text), all_levels=True)
            views = verdict.views
            if views is None or views.decided is None or verdict.unsafe != plain.unsafe:
                continue
            found += 1
            assert verdict.hazards is not None
            assert all(verdict.hazards[name] >= score for name, score in plain.hazards.items())
    assert found >= 3


def test_plain_texts_have_the_same_verdict_as_without_views(int8_gate: Gate) -> None:
    texts = ["How do I kill a Python process?", "", "x", "Guten Tag, wie geht es Ihnen heute?"]
    assert int8_gate.check_many(texts) == _without_views(int8_gate).check_many(texts)
    assert all(verdict.views is None for verdict in int8_gate.check_many(texts))


def test_the_span_of_a_view_is_in_the_text_as_written(int8_gate: Gate) -> None:
    tokenizer = int8_gate.level1.tokenizer
    benign = "The train leaves at noon and we all go home. " * 60
    hidden = base64.b64encode(TEXT.encode()).decode()
    text = f"{benign}\n{hidden}\n{benign}"
    (plain,) = tokenizer.encode([text])
    tokens = with_views(text, plain, tokenizer, NAMES)
    assert len(plain.windows) > 2
    assert tokens.windows == plain.windows
    # Windows of what is as written are read once.
    assert 1 <= len([w for w in tokens.views if w.n_tokens > 30]) < len(plain.windows)
    at = text.index(hidden)
    for window in tokens.views:
        assert window.view is not None
        assert window.view.name == "base64"
        assert TEXT[:10] in window.view.text or TEXT[-10:] in window.view.text
        assert window.start <= at + len(hidden)
        assert window.end >= at
    (verdict,) = int8_gate.check_many([text])
    assert 0 <= verdict.span.start < verdict.span.end <= len(text)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("length", [1, 40])
def test_views_read_at_most_as_many_tokens_as_the_text_may_have(
    int8_gate: Gate, kind: str, length: int
) -> None:
    tokenizer = int8_gate.level1.tokenizer
    for disguise in DISGUISES[kind]:
        text = disguise(" ".join([TEXT] * length))
        (plain,) = tokenizer.encode([text])
        tokens = with_views(text, plain, tokenizer, NAMES)
        n_plain = sum(len(window.input_ids) for window in plain.every_window)
        n_views = sum(len(window.input_ids) for window in tokens.views)
        assert 0 < n_views <= max(n_plain, len(text) // 2, 32)
        for window in tokens.views:
            assert window.view is not None
            check_text(window.view.text, "view")


def test_what_the_budget_leaves_out_is_said(int8_gate: Gate) -> None:
    # One character that NFKC writes in eighteen.
    text = "\ufdfa" * 14
    verdict = int8_gate.check(text)
    assert verdict.views is not None
    assert (verdict.views.read, verdict.views.left_out) == ((), ("nfkc",))
    assert verdict.views.decided is None
    assert verdict.unsafe == verdict.views.as_written


def test_a_code_in_too_many_codes_is_said(int8_gate: Gate) -> None:
    text = TEXT
    for _ in range(5):
        text = base64.b64encode(text.encode()).decode()
    views = int8_gate.check(text).views
    assert views is not None
    assert views.left_out == ("base64",)


def test_views_can_be_turned_off_and_a_wrong_name_is_refused() -> None:
    assert Reading(views=()).views == ()
    with pytest.raises(BundleError, match=r"no such view: base46; there are tags, .*reversed"):
        Reading(views=("base64", "base46"))


def test_the_verdict_of_many_is_that_of_each(int8_gate: Gate) -> None:
    texts = [DISGUISES[kind][0](TEXT) for kind in NAMES] + [TEXT]
    together = int8_gate.check_many(texts)
    assert together == [int8_gate.check(text) for text in texts]
    assert np.all([verdict.understood for verdict in together[-1:]])


def test_a_store_knows_no_text_without_its_views(int8_gate: Gate) -> None:
    gate = dataclasses.replace(int8_gate, store=LogitStore(StoreLimits()))
    for kind in NAMES:
        disguised = DISGUISES[kind][0](TEXT)
        as_written = _without_views(int8_gate).check(disguised)
        in_views = int8_gate.check(disguised)
        for _ in range(3):
            assert _without_views(gate).check(disguised) == as_written
            assert gate.check(disguised) == in_views


def test_a_store_knows_the_beginning_of_a_text_and_not_that_its_end_is_plain(
    int8_gate: Gate,
) -> None:
    gate = dataclasses.replace(int8_gate, store=LogitStore(StoreLimits()))
    plain = "The train leaves at noon and we all go home. " * (3 * STEP // 40)
    for text in (plain, plain + DISGUISES["base64"][0](TEXT), plain + TEXT):
        assert gate.check(text) == int8_gate.check(text)
        assert gate.check(text) == int8_gate.check(text)
