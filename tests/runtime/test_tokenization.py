"""Ids are the tokenizer's own; counts say what was read; bad text is named, never quoted."""

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hazgate import Bundle, BundleError, InputError
from hazgate.bundle.manifest import TokenizerSpec
from hazgate.text import tokenization
from hazgate.text.tokenization import Tokenizer, Tokens, Window
from tests.support.tokenizers import (
    CLS,
    GOOD,
    MORNING,
    SEP,
    UNK,
    WORLD,
    windows_spec,
    write_word_tokenizer,
)

MARKER = "unrepeatable"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_word_tokenizer(tmp_path_factory.mktemp("words") / "tokenizer.json")


def _open(
    file: Path,
    window_tokens: int = 8,
    special: Literal["text", "token"] = "text",
    *,
    overlap_tokens: int = 0,
    close_tokens: int | None = None,
    sentences_from_tokens: int | None = None,
) -> Tokenizer:
    return Tokenizer(
        file,
        windows_spec(
            window_tokens,
            overlap_tokens,
            close_tokens=close_tokens,
            sentences_from_tokens=sentences_from_tokens,
            special_tokens_in_text=special,
        ),
    )


def _encode(tokenizer: Tokenizer, text: str) -> Tokens:
    (tokens,) = tokenizer.encode([text])
    return tokens


def _ids(tokens: Tokens) -> tuple[int, ...]:
    return tokens.windows[0].input_ids


def test_special_tokens_surround_the_text_and_are_not_counted(words: Path) -> None:
    tokens = _encode(_open(words), "good morning world")
    window = Window(input_ids=(CLS, GOOD, MORNING, WORLD, SEP), n_tokens=3, start=0, end=18)
    assert tokens == Tokens(windows=(window,), n_total=3, n_read=3)
    assert not tokens.truncated


def test_the_manifests_limit_replaces_the_files_own(words: Path) -> None:
    # The file itself says: three tokens at most, padded to seven.
    assert _ids(_encode(_open(words, 20), "good " * 18)) == (CLS, *[GOOD] * 18, SEP)


@pytest.mark.parametrize("n_words", [5, 6, 7, 1000])
def test_the_first_window_is_the_beginning_and_the_closing_special_token(
    words: Path, n_words: int
) -> None:
    tokens = _encode(_open(words), "good " * n_words).first_window()
    n_read = min(n_words, 6)
    assert _ids(tokens) == (CLS, *[GOOD] * n_read, SEP)
    assert (tokens.n_total, tokens.n_read) == (n_words, n_read)
    assert tokens.truncated == (n_words > 6)


@given(
    n_words=st.integers(min_value=0, max_value=60),
    room=st.integers(min_value=1, max_value=12),
    overlap=st.integers(min_value=0, max_value=11),
)
@settings(deadline=None)
def test_windows_cover_every_token_overlap_and_know_their_characters(
    words: Path, n_words: int, room: int, overlap: int
) -> None:
    assume(overlap < room)
    random = np.random.default_rng(n_words)
    parts = [("good", "morning", "world")[i] for i in random.integers(3, size=n_words)]
    text = " ".join(parts)
    ids = [{"good": GOOD, "morning": MORNING, "world": WORLD}[part] for part in parts]

    tokens = _encode(_open(words, room + 2, overlap_tokens=overlap), text)

    assert (tokens.n_total, tokens.n_read) == (n_words, n_words)
    at = 0
    for k, window in enumerate(tokens.windows):
        inner = list(window.input_ids[1:-1])
        assert window.n_tokens == len(inner) <= room
        assert inner == ids[at : at + len(inner)]
        assert text[window.start : window.end].split() == parts[at : at + len(inner)]
        last = k == len(tokens.windows) - 1
        at += len(inner) if last else room - overlap
        assert last or len(inner) == room
    assert at == n_words
    assert tokens.windows[0].start == 0
    assert tokens.windows[-1].end == len(text)


def test_a_text_of_several_windows_is_also_read_in_close_windows(words: Path) -> None:
    tokenizer = _open(words, 10, overlap_tokens=2, close_tokens=6)
    text = "good " * 20 + "morning"
    tokens = _encode(tokenizer, text)
    assert [w.n_tokens for w in tokens.close] == [4] * 9 + [3]
    assert tokens.every_window == tokens.windows + tokens.close
    assert (tokens.close[0].start, tokens.close[-1].end) == (0, len(text))
    assert all(a.end > b.start for a, b in itertools.pairwise(tokens.close))
    assert _encode(tokenizer, "good " * 8).close == ()
    assert tokens.first_window().close == ()


def test_a_text_of_one_window_is_read_from_close_by_from_the_stated_length_on(words: Path) -> None:
    tokenizer = _open(words, 20, overlap_tokens=2, close_tokens=6, sentences_from_tokens=10)
    short, long = _encode(tokenizer, "good " * 7), _encode(tokenizer, "good " * 8)
    assert short.every_window == short.windows
    assert not any(window.is_sentence for window in short.windows)
    assert len(long.windows) == 1
    assert [window.n_tokens for window in long.close] == [4] * 3
    assert all(window.is_sentence for window in long.close)
    assert (long.close[0].start, long.close[-1].end) == (0, len("good " * 8))


def test_a_text_that_a_close_window_holds_is_read_once(words: Path) -> None:
    tokenizer = _open(words, 20, overlap_tokens=2, close_tokens=6, sentences_from_tokens=1)
    assert len(_encode(tokenizer, "good " * 4).every_window) == 1
    assert len(_encode(tokenizer, "good " * 5).every_window) > 1


@pytest.mark.parametrize("close_tokens", [1, 2])
def test_a_close_window_without_room_for_text_is_refused(words: Path, close_tokens: int) -> None:
    with pytest.raises(BundleError, match=f"close_tokens of {close_tokens} leaves no room"):
        _open(words, close_tokens=close_tokens)


def test_an_empty_text_is_its_special_tokens(words: Path) -> None:
    tokens = _encode(_open(words), "")
    assert _ids(tokens) == (CLS, SEP)
    assert (tokens.n_total, tokens.n_read) == (0, 0)


def test_space_around_a_text_belongs_to_its_windows(words: Path) -> None:
    text = "  " + "good " * 9 + "  "
    windows = _encode(_open(words), text).windows
    assert windows[0].start == 0
    assert windows[-1].end == len(text)


def test_texts_keep_their_order_and_do_not_pad_each_other(words: Path) -> None:
    texts = ["world", "", "good morning good morning", "good"]
    tokenizer = _open(words)
    assert tokenizer.encode(texts) == [_encode(tokenizer, text) for text in texts]
    assert tokenizer.encode([]) == []


def test_special_tokens_typed_by_a_user_are_text_by_default(words: Path) -> None:
    tokens = _encode(_open(words), "[SEP] good [CLS]")
    assert _ids(tokens)[0] == CLS
    assert _ids(tokens)[-1] == SEP
    assert not {CLS, SEP} & set(_ids(tokens)[1:-1])
    assert GOOD in _ids(tokens)


def test_special_tokens_typed_by_a_user_are_tokens_where_the_manifest_says_so(words: Path) -> None:
    tokens = _encode(_open(words, special="token"), "[SEP] good [CLS]")
    assert _ids(tokens) == (CLS, SEP, GOOD, CLS, SEP)
    assert tokens.n_total == 3


def test_a_real_tokenizer_takes_typed_special_tokens_apart(tiny_bundle: Path) -> None:
    file = tiny_bundle / "tokenizer.json"
    bos, eos = (_ids(_encode(_open(file), ""))[i] for i in (0, -1))
    typed = "<bos> hello <eos>"
    as_text, as_token = (_encode(_open(file, 64, how), typed) for how in ("text", "token"))
    assert not {bos, eos} & set(_ids(as_text)[1:-1])
    assert {bos, eos} <= set(_ids(as_token)[1:-1])
    assert as_token.n_total < as_text.n_total


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "expected a string, got NoneType"),
        (b"good", "expected a string, got bytes"),
        (7, "expected a string, got int"),
        (["good"], "expected a string, got list"),
        (f"{MARKER}\ud800{MARKER}", "lone surrogate at character 12"),
        ("\udfff", "lone surrogate at character 0"),
    ],
    ids=["None", "bytes", "int", "list", "high surrogate", "low surrogate"],
)
def test_a_malformed_string_is_named_by_index_and_not_quoted(
    words: Path, value: object, said: str
) -> None:
    texts = ["good", cast(str, value), MARKER]
    with pytest.raises(InputError) as caught:
        _open(words).encode(texts)
    assert str(caught.value).startswith(f"text 1: {said}")
    assert MARKER not in str(caught.value)


def test_surrogate_pairs_are_refused_and_real_astral_characters_are_not(words: Path) -> None:
    tokenizer = _open(words)
    with pytest.raises(InputError):
        tokenizer.encode(["\ud83d\ude00"])
    assert _ids(_encode(tokenizer, "\U0001f600")) == (CLS, UNK, SEP)


@pytest.mark.parametrize(
    "text", ["\0", "good\0morning", "\x07\x1b[2J", "\u202e\u200b\ufeff", "\n\t"]
)
def test_control_characters_are_text_like_any_other(tiny_bundle: Path, text: str) -> None:
    tokens = _encode(_open(tiny_bundle / "tokenizer.json", 64), text)
    assert tokens.n_total == tokens.n_read > 0
    assert len(_ids(tokens)) == tokens.n_read + 2


@pytest.mark.parametrize(("window_tokens", "overlap_tokens"), [(2, 0), (6, 4), (3, 1)])
def test_a_window_without_room_for_new_text_is_refused(
    words: Path, window_tokens: int, overlap_tokens: int
) -> None:
    with pytest.raises(BundleError, match=f"window_tokens of {window_tokens} leaves no room.* 2 s"):
        _open(words, window_tokens, overlap_tokens=overlap_tokens)
    assert _ids(_encode(_open(words, 3), "good good")) == (CLS, GOOD, SEP)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"model": {}}'], ids=bytes.__repr__
)
def test_a_file_that_is_no_tokenizer_is_a_bundle_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json is not a tokenizer file"):
        _open(file)


def test_threads_share_a_tokenizer(tiny_bundle: Path) -> None:
    tokenizer = _open(tiny_bundle / "tokenizer.json", 16)
    texts = [f"text number {i} " * (1 + i % 7) for i in range(200)]
    expected = [_encode(tokenizer, text) for text in texts]
    with ThreadPoolExecutor(max_workers=8) as pool:
        assert list(pool.map(lambda text: _encode(tokenizer, text), texts)) == expected


@pytest.mark.parametrize("method", ["count", "token_ends", "text_tokens"])
def test_other_threads_go_on_while_a_long_text_is_tokenised(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    spec = Bundle.open(tiny_bundle).manifest.levels["level1"].tokenizer
    tokenizer = Tokenizer(tiny_bundle / spec.file, spec)
    encoding = Tokenizer._encoding
    n_steps = 0
    is_over = threading.Event()
    seen: list[int] = []

    def watched(self: Tokenizer, text: str, *, add_special_tokens: bool) -> object:
        before = n_steps
        found = encoding(self, text, add_special_tokens=add_special_tokens)
        seen.append(n_steps - before)
        return found

    def step() -> None:
        nonlocal n_steps
        while not is_over.is_set():
            n_steps += 1
            time.sleep(0)

    monkeypatch.setattr(Tokenizer, "_encoding", watched)
    other = threading.Thread(target=step)
    other.start()
    try:
        getattr(tokenizer, method)("good morning " * 50_000)
    finally:
        is_over.set()
        other.join()
    # The other thread has at most one turn, before or after, where the lock is held all the time.
    assert seen[0] > 20


def test_specifications_that_differ_in_windows_share_what_is_loaded(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(tiny_bundle)
    spec = bundle.manifest.levels["level1"].tokenizer
    narrow = replace(spec, window_tokens=spec.window_tokens - 8)
    as_tokens = replace(spec, special_tokens_in_text="token")
    opened = []
    load = tokenization._load

    def counted(file: Path, spec: TokenizerSpec) -> object:
        opened.append(spec)
        return load(file, spec)

    monkeypatch.setattr(tokenization, "_load", counted)
    found = tokenization.load_tokenizers(bundle.file, (spec, narrow, as_tokens))
    assert opened == [spec, as_tokens]
    assert found[narrow].window_tokens == found[spec].window_tokens - 8
    text = "[SEP] summer <eos>"
    expected = Tokenizer(bundle.file(spec.file), as_tokens).encode([text])
    assert found[as_tokens].encode([text]) == expected


def test_large_files_give_the_memory_of_their_parsing_back(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(tiny_bundle)
    spec = bundle.manifest.levels["level1"].tokenizer
    released = []
    monkeypatch.setattr(tokenization, "_release_freed_memory", lambda: released.append(True))
    Tokenizer(bundle.file(spec.file), spec)
    assert released == []
    monkeypatch.setattr(tokenization, "_LARGE_BYTES", 0)
    Tokenizer(bundle.file(spec.file), spec)
    assert released == [True]
