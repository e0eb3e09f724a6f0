"""Sentences by themselves: which texts are read so, and how much that counts."""

import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from hazgate import Gate
from hazgate.classifier import Classifier
from hazgate.engine.logit_store import LogitStore, StoreLimits
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError
from hazgate.judging.scores import lowered
from hazgate.text.outline import pack, unpack
from hazgate.text.reading import Reading
from tests.support.damage import edit_manifest

# The spotter's words: log-odds of 3 with "morning" in a window, of -18 without.
FOUND = 3.0
ENGINE = EngineOptions(threads=1)
TEXT = "good good good good morning good"


def _by_sentence(spotter: Path, folder: Path, **tokenizer: float) -> Path:
    """Return a copy of the spotter whose windows hold 20 words, and close ones 3."""
    bundle = Path(shutil.copytree(spotter, folder / "bundle"))

    def state(data: dict) -> None:  # type: ignore[type-arg]
        data["schema_version"] = 4
        for level in data["levels"].values():
            level["tokenizer"].update(
                window_tokens=22,
                overlap_tokens=2,
                close_tokens=5,
                sentences_from_tokens=6,
                **tokenizer,
            )

    edit_manifest(bundle, state)
    return bundle


def _unsafe(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def test_a_text_of_one_window_is_also_read_in_parts(spotter: Path, tmp_path: Path) -> None:
    verdict = Gate.open(_by_sentence(spotter, tmp_path), engine=ENGINE).check(TEXT)
    assert verdict.tokens.windows == 1 + 3
    assert verdict.unsafe == pytest.approx(_unsafe(FOUND))


def test_a_reading_may_read_more_texts_once(spotter: Path, tmp_path: Path) -> None:
    bundle = _by_sentence(spotter, tmp_path)
    sparing = Gate.open(bundle, engine=ENGINE, reading=Reading(sentences_from_tokens=9))
    assert sparing.check(TEXT).tokens.windows == 1
    assert sparing.check(TEXT + " good").tokens.windows > 1


def test_a_text_of_one_window_keeps_its_second_look_where_long_ones_are_cut(
    spotter: Path, tmp_path: Path
) -> None:
    bundle = _by_sentence(spotter, tmp_path)
    cutting = Gate.open(bundle, engine=ENGINE, reading=Reading(long_texts="truncate"))
    assert cutting.check(TEXT).tokens.windows == 1 + 3
    assert cutting.check("good " * 30).tokens.windows == 1


def test_a_length_that_no_text_has_is_refused() -> None:
    with pytest.raises(BundleError, match="sentences_from_tokens must be at least 1, got 0"):
        Reading(sentences_from_tokens=0)


def test_a_sentence_by_itself_counts_less_by_the_margin(spotter: Path, tmp_path: Path) -> None:
    gate = Gate.open(_by_sentence(spotter, tmp_path, sentence_margin=5.0), engine=ENGINE)
    level = gate.level1
    (tokens,) = level.tokenizer.encode([TEXT])
    (logits,) = level.window_logits([tokens])
    counted = level.counted(logits, [window.is_sentence for window in tokens.every_window])
    assert [window.is_sentence for window in tokens.every_window] == [False, True, True, True]
    np.testing.assert_array_equal(counted[:1], logits[:1])
    np.testing.assert_array_equal(counted[1:] - logits[1:], [[0.0, -5.0]] * 3)


def test_a_margin_takes_a_verdict_that_only_a_sentence_gave(spotter: Path, tmp_path: Path) -> None:
    """The whole window is hidden from the verdict by reading the sentences alone."""
    gates = {
        margin: Gate.open(
            _by_sentence(spotter, tmp_path / str(margin), sentence_margin=margin), engine=ENGINE
        )
        for margin in (0.0, 5.0)
    }
    for margin, gate in gates.items():
        (tokens,) = gate.level1.tokenizer.encode([TEXT])
        close = dataclasses.replace(tokens, windows=tokens.close, close=())
        (verdict,) = gate.answer(gate.ask([TEXT], tokens=[close]))
        assert verdict.unsafe == pytest.approx(_unsafe(FOUND - margin))
        assert verdict.flagged == (margin == 0)


def test_a_level_alone_counts_sentences_as_a_gate_does(spotter: Path, tmp_path: Path) -> None:
    bundle = _by_sentence(spotter, tmp_path, sentence_margin=5.0)
    level = Classifier.open(bundle, "level1", engine=ENGINE)
    gate = Gate.open(bundle, engine=ENGINE)
    (answer,) = level.classify([TEXT])
    assert answer.scores["unsafe"] == gate.check(TEXT).unsafe


def test_close_windows_of_a_long_text_count_in_full(spotter: Path, tmp_path: Path) -> None:
    gate = Gate.open(_by_sentence(spotter, tmp_path, sentence_margin=5.0), engine=ENGINE)
    (tokens,) = gate.level1.tokenizer.encode(["good " * 30 + "morning"])
    assert len(tokens.windows) > 1
    assert tokens.close
    assert not any(window.is_sentence for window in tokens.every_window)


def test_a_text_from_the_store_has_the_verdict_that_it_had(spotter: Path, tmp_path: Path) -> None:
    store = LogitStore(StoreLimits())
    exact = _by_sentence(spotter, tmp_path, sentence_margin=5.0)
    edit_manifest(exact, _all_alone)
    gate = Gate.open(exact, engine=ENGINE)
    (tokens,) = gate.level1.tokenizer.encode([TEXT])
    outline = pack(tokens, [b"k" * 16] * len(tokens.every_window))
    kept, _ = unpack(outline)
    assert [window.is_sentence for window in kept.every_window] == [False, True, True, True]
    first = gate.answer(gate.ask([TEXT], store=store), store=store)
    again = gate.answer(gate.ask([TEXT], store=store), store=store)
    assert store.facts.hits
    assert again == first


def _all_alone(data: dict) -> None:  # type: ignore[type-arg]
    """Let every text run alone, so that its logits may be kept."""
    for level in data["levels"].values():
        for variant in level["variants"].values():
            variant["batching"] = "alone"
            variant["parity"]["max_invariance_diff"] = 0.0


def test_lowered_logits_change_in_one_column_of_the_named_rows() -> None:
    logits = np.ones((3, 2), dtype=np.float32)
    found = lowered(logits, [False, True, False], 1, 0.5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1, 1], [1, 0.5], [1, 1]])
    np.testing.assert_array_equal(logits, np.ones((3, 2)))
