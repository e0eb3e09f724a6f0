"""A long text that grows is tokenised from its end, and its windows are those of the whole."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Fast

from hazgate import Gate
from hazgate.engine.logit_store import LogitStore, StoreLimits
from hazgate.engine.options import EngineOptions
from hazgate.text import prefix as prefixes
from hazgate.text.prefix import Prefix, ends_of_prefixes, grown, prefix_of
from hazgate.text.tokenization import TextTokens, Tokenizer, Tokens
from tests.support.damage import replace_file
from tests.support.tokenizers import windows_spec, write_letter_tokenizer, write_word_tokenizer

WORDS = st.sampled_from(
    ("good ", "morning, ", "it's\n", "a", "  ", "\n\n", "x" * 40 + " ", "https://x.org/?q=1 ", "é ")
)
SPEC = windows_spec(26, 6, close_tokens=11, max_tokens=256)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_letter_tokenizer(tmp_path_factory.mktemp("prefix") / "tokenizer.json")


@pytest.fixture
def _short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefixes, "STEP", 64)


def _bare(tokens: Tokens) -> Tokens:
    def bare(windows: Sequence[object]) -> tuple[object, ...]:
        return tuple(dataclasses.replace(window, input_ids=()) for window in windows)  # type: ignore[type-var]

    return dataclasses.replace(tokens, windows=bare(tokens.windows), close=bare(tokens.close))  # type: ignore[arg-type]


@pytest.mark.usefixtures("_short_steps")
@pytest.mark.parametrize(("close", "close_from"), [(11, None), (11, 12), (None, None)])
def test_a_grown_text_has_the_windows_of_the_whole(
    file: Path, close: int | None, close_from: int | None
) -> None:
    spec = dataclasses.replace(SPEC, close_tokens=close, sentences_from_tokens=close_from)
    tokenizer = Tokenizer(file, spec)
    n_known = 0

    @given(pieces=st.lists(st.lists(WORDS, min_size=5, max_size=40).map("".join), max_size=6))
    @settings(max_examples=20)
    def check(pieces: list[str]) -> None:
        nonlocal n_known
        text = ""
        before: Prefix | None = None
        for piece in pieces:
            text += piece
            whole, read = tokenizer.encode_long(text)
            keys = tuple(b"%16d" % i for i in range(len(whole.every_window)))
            if not tokenizer.knows_all(read):
                return
            found = None
            if before is not None:
                before = Prefix.unpack(before.pack())
                assert Prefix.unpack(before.pack()) == before
                found = grown(text, before, tokenizer)
                assert found is not None
                n_known += len(before.windows)
                tokens, read = found
                assert _bare(tokens) == _bare(whole)
                for mine, theirs in zip(tokens.every_window, whole.every_window, strict=True):
                    assert mine.input_ids in ((), theirs.input_ids)
                # Each key stands for its own window.
                places = before.keys_among([b""] * len(keys), len(tokens.windows))
                assert [bool(key) for key in places] == [
                    not window.input_ids for window in tokens.every_window
                ]
            ends = ends_of_prefixes(text)
            if ends:
                before = prefix_of(whole, keys, read, tokenizer, ends[0], before) or before
            for other in (" ", "\n a", " other words") if before is not None and ends else ():
                # Another text with the same beginning.
                short = text[: ends[0]] + other
                again = prefix_of(whole, keys, tokenizer.encode_long(text)[1], tokenizer, ends[0])
                if again is not None:
                    of_short = grown(short, Prefix.unpack(again.pack()), tokenizer)
                    assert of_short is not None
                    assert _bare(of_short[0]) == _bare(tokenizer.encode([short])[0])

    check()
    assert n_known > 50


@pytest.mark.usefixtures("_short_steps")
@given(st.lists(WORDS, max_size=60).map("".join), st.lists(WORDS, max_size=60).map("".join))
def test_places_depend_on_what_is_before_them(text: str, more: str) -> None:
    ends = ends_of_prefixes(text)
    assert ends == sorted(ends, reverse=True)
    later = set(ends_of_prefixes(text + more))
    if len(later) < 8:
        assert set(ends) <= later
    for end in ends:
        assert text[end] in " \n"
        assert not text[end - 1].isspace()


def test_tokenizers_that_read_words_apart(file: Path, tmp_path: Path) -> None:
    assert Tokenizer(file, SPEC).reads_words_apart
    assert Tokenizer(write_word_tokenizer(tmp_path / "words.json"), SPEC).reads_words_apart
    for token in (
        AddedToken("two words", special=False),
        AddedToken("wide", special=False, rstrip=True),
    ):
        fast = Fast.from_file(str(file))
        fast.add_tokens([token])
        fast.save(str(tmp_path / "added.json"))
        assert not Tokenizer(tmp_path / "added.json", SPEC).reads_words_apart


def test_a_tokenizer_that_replaces_text_may_read_words_together(tmp_path: Path) -> None:
    other = write_word_tokenizer(tmp_path / "others.json", knows_others=True)
    assert not Tokenizer(other, SPEC).reads_words_apart


@pytest.mark.usefixtures("_short_steps")
def test_verdicts_on_a_growing_text_are_the_gates_own(
    file: Path, bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hazgate.questions.STEP", 64)
    replace_file(bundle_copy, "tokenizer.json", file.read_bytes())
    gate = Gate.open(bundle_copy, engine=EngineOptions(threads=1))
    assert gate.level1.tokenizer.reads_words_apart
    sizes: list[int] = []
    real = Tokenizer.text_tokens

    def counted(self: Tokenizer, text: str) -> TextTokens:
        sizes.append(len(text))
        return real(self, text)

    monkeypatch.setattr(Tokenizer, "text_tokens", counted)
    store = LogitStore(StoreLimits())
    stored, text = dataclasses.replace(gate, store=store), ""
    for i in range(8):
        text += f"hello number {i}, how do I kill a Python process? " * 3
        assert stored.check(text) == gate.check(text)
        assert stored.check(text, tenant=None, all_levels=True) == gate.check(text, all_levels=True)
    # Only the end was tokenised.
    assert sizes
    assert max(sizes) < len(text) / 2
    asked = stored.ask([text], store=store)
    store.clear()
    assert stored.answer(asked, store=store) == gate.check_many([text])
    # What the tokenizer does not know must be looked at in the whole.
    assert stored.check(text + " 你好") == gate.check(text + " 你好")
    assert stored.check(text + "\U000e0041" * 400) == gate.check(text + "\U000e0041" * 400)
