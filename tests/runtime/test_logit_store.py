"""The store of logits: the same bits as without it, bounded, and nobody sees another's."""

import dataclasses
import tracemalloc
from array import array
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazgate import BundleError, Classifier, Gate, InferenceError, Reading
from hazgate.engine.logit_store import (
    NO_STORE,
    NOBODY,
    LogitStore,
    Owner,
    Row,
    StoreFacts,
    StoreLimits,
    read_once,
)
from hazgate.engine.options import EngineOptions
from hazgate.engine.providers.table import CPU
from hazgate.text.outline import pack, unpack
from hazgate.text.tokenization import Tokenizer, Tokens
from tests.support.damage import replace_graph
from tests.support.graphs import constant_graph
from tests.support.processes import run_python
from tests.support.sessions import failing_gate, watched_gate

SOURCE = ("level1", "digest", "int8", CPU)
WORDS = st.sampled_from(("good", "morning", "world", "a", "kill", "Python", "你好", "!" * 70))
TEXTS = st.lists(st.lists(WORDS, max_size=50).map(" ".join), max_size=4)


@pytest.fixture(scope="module")
def gate(tiny_bundle: Path) -> Gate:
    """Return a gate of a variant that is exact: its texts run alone."""
    return Gate.open(tiny_bundle, engine=EngineOptions(threads=1))


def _store(max_bytes: int = 1 << 20, *, shared: bool = False) -> LogitStore:
    return LogitStore(StoreLimits(max_bytes=max_bytes, shared=shared))


def _keys(store: LogitStore, rows: Iterable[Row], owner: Owner = NOBODY) -> list[bytes]:
    return store.keys(SOURCE, owner, rows)


def _logits(*rows: float) -> np.ndarray:
    return np.array([[each, -each] for each in rows], dtype=np.float32)


def _counted(gate: Gate) -> tuple[Gate, list[int]]:
    """Return the gate, and a list that grows by the rows of each run of its Level 1."""
    n_rows: list[int] = []
    return watched_gate(gate, lambda ids: n_rows.append(len(ids))), n_rows


# The same bits


@settings(max_examples=12)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(1, 4000), st.booleans())
def test_verdicts_are_the_same_with_any_store_in_any_order(
    gate: Gate, batches: list[list[str]], max_bytes: int, all_levels: bool
) -> None:
    stored = dataclasses.replace(gate, store=_store(max_bytes))
    for texts in [*batches, *batches]:
        expected = gate.check_many(texts, all_levels=all_levels)
        assert stored.check_many(texts, all_levels=all_levels) == expected
    assert stored.store is not None
    assert stored.store.facts.n_bytes <= max_bytes


def test_logits_from_the_store_are_the_same_bits(gate: Gate) -> None:
    store, level = _store(), gate.level1
    tokens = level.tokenizer.encode(["good " * 100, "hello", "good " * 100])
    expected = level.window_logits(tokens)
    for _ in range(2):
        found = level.window_logits(tokens, store=store, owners=[NOBODY] * 3)
        assert [each.tobytes() for each in found] == [each.tobytes() for each in expected]
        assert [each.shape for each in found] == [each.shape for each in expected]


def test_a_text_that_comes_again_runs_no_model(gate: Gate) -> None:
    counted, n_rows = _counted(dataclasses.replace(gate, store=_store()))
    counted.check("good morning")
    assert n_rows == [1]
    counted.check_many(["good morning"] * 3)
    assert n_rows == [1]


def test_equal_windows_of_one_call_run_once(gate: Gate) -> None:
    counted, n_rows = _counted(gate)
    # Nothing is kept here, so only the call itself can share.
    store, level = _store(max_bytes=1), counted.level1
    tokens = level.tokenizer.encode(["hello", "other", "hello"])
    found = level.window_logits(tokens, store=store, owners=[NOBODY] * 3)
    assert sum(n_rows) == 2
    assert found[0].tolist() == found[2].tolist()
    assert (store.facts.hits, store.facts.misses) == (1, 2)


def test_a_gate_has_no_store_unless_asked(tiny_bundle: Path) -> None:
    for opened in (Gate.open(tiny_bundle), Classifier.open(tiny_bundle, "level1")):
        assert opened.store is None
    engine = EngineOptions(threads=1, store=StoreLimits(max_bytes=5000))
    gate = Gate.open(tiny_bundle, engine=engine)
    assert gate.store is gate.level1.store
    assert gate.check("hello") == gate.check("hello")
    assert gate.store is not None
    assert gate.store.facts.hits == 1
    level = Classifier.open(tiny_bundle, "level1", engine=engine)
    assert level.classify(["hello", "hello"])[0] == level.classify(["hello"])[0]
    assert level.store is not None
    assert level.store.facts.misses == 1


def test_answer_reads_everything_unless_it_is_given_a_store(gate: Gate) -> None:
    # A server proves its engine so: a store would answer in place of a dead one.
    counted, n_rows = _counted(dataclasses.replace(gate, store=_store()))
    counted.check("hello")
    counted.answer(counted.ask(["hello"]))
    assert len(n_rows) == 2


# A known text is not tokenised


def test_an_outline_says_everything_but_the_tokens(gate: Gate) -> None:
    for tokens in gate.level1.tokenizer.encode(["", "hello", "good " * 300, "\U000e0041" * 9]):
        n_windows = len(tokens.every_window)
        keys = tuple(bytes([i % 256] * 16) for i in range(n_windows))
        found, found_keys = unpack(pack(tokens, keys))
        assert found_keys == keys
        assert found.count == tokens.count
        assert (found.understood, found.truncated) == (tokens.understood, tokens.truncated)
        for a, b in zip(found.every_window, tokens.every_window, strict=True):
            assert a == dataclasses.replace(b, input_ids=())


LONG = "hello kill Python world " * 60


def test_a_known_text_is_not_tokenised(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = dataclasses.replace(gate, store=_store())
    expected = stored.check_many([LONG, "hello"])
    encoded: list[str] = []
    real = Tokenizer.encode_checked

    def encode(self: Tokenizer, texts: Sequence[str]) -> list[Tokens]:
        encoded.extend(texts)
        return real(self, texts)

    monkeypatch.setattr(Tokenizer, "encode_checked", encode)
    (question,) = stored.ask([LONG], store=stored.store)
    assert question.keys
    assert not encoded
    assert stored.check_many(["new", LONG]) == [*stored.check_many(["new"]), expected[0]]


@pytest.mark.parametrize("answering", ["with it", "emptied", "another", "none"])
def test_a_known_text_is_answered_whatever_becomes_of_the_store(gate: Gate, answering: str) -> None:
    store = _store()
    expected = gate.check_many([LONG, "hello"], all_levels=True)
    for _ in range(2):
        asked = gate.ask([LONG, "hello"], all_levels=True, store=store)
        found = gate.answer(asked, store=store)
        assert found == expected
    assert all(question.keys for question in asked)
    if answering == "emptied":
        store.clear()
    given = {"another": _store(), "none": None}.get(answering, store)
    assert gate.answer(asked, store=given) == expected


def test_an_outline_without_its_windows_is_of_no_use(gate: Gate) -> None:
    store = _store()
    gate.ask(["hello"], store=store)
    # It was asked and not answered.
    (question,) = gate.ask(["hello"], store=store)
    assert not question.keys


def test_an_outline_is_its_owners_own_and_of_one_way_to_cut(gate: Gate) -> None:
    store = _store()
    gate.answer(gate.ask([LONG], caller="a", store=store), store=store)
    assert gate.ask([LONG], caller="a", store=store)[0].keys
    assert not gate.ask([LONG], caller="b", store=store)[0].keys
    other = dataclasses.replace(gate, reading=Reading(long_texts="truncate"))
    assert not other.ask([LONG], caller="a", store=store)[0].keys
    verdict = other.answer(other.ask([LONG], caller="a", store=store), store=store)[0]
    assert verdict.truncated


def test_nothing_of_a_text_is_kept(gate: Gate) -> None:
    store = _store()
    word = "unrepeatable"
    gate.answer(gate.ask([f"{word} " * 100], store=store), store=store)
    ids = gate.level1.tokenizer.encode([word])[0].windows[0].input_ids[1:-1]
    content = b"".join(key + value for key, value in store._content.entries.items())
    assert word.encode() not in content
    for width in ("I", "q"):
        assert array(width, ids).tobytes() not in content


# What is not exact is not kept


def test_a_variant_whose_sums_depend_on_the_batch_is_read_every_time(tiny_bundle: Path) -> None:
    engine = EngineOptions(variant="fp32", threads=1, store=StoreLimits())
    gate = Gate.open(tiny_bundle, engine=engine)
    assert not gate.level1.is_exact
    gate.check_many(["hello", "hello"])
    assert gate.store is not None
    assert gate.store.facts == StoreFacts()


@pytest.mark.parametrize(
    ("batching", "precision", "moved", "is_exact"),
    [
        ("alone", "int8", 0.0, True),
        ("alone", "fp32", 0.0, True),
        ("packed", "int8", 0.0, True),
        ("equal_length", "int8", 0.0, True),
        ("equal_length", "fp32", 0.0, False),
        ("padded", "int8", 0.0, False),
        ("padded", "fp32", 0.0, False),
        ("packed", "int8", 1e-12, False),
        ("alone", "int8", 1e-12, False),
    ],
)
def test_exact_variants(
    gate: Gate, batching: str, precision: str, moved: float, is_exact: bool
) -> None:
    spec = gate.level1.spec.variants["int8"]
    parity = dataclasses.replace(spec.parity, max_invariance_diff=moved)
    variant = dataclasses.replace(spec, batching=batching, precision=precision, parity=parity)  # type: ignore[arg-type]
    assert variant.is_exact == is_exact


def test_no_other_provider_than_the_cpu_is_exact(gate: Gate) -> None:
    assert gate.level1.is_exact
    assert not dataclasses.replace(gate.level1, provider="MIGraphXExecutionProvider").is_exact


def test_nothing_is_kept_of_a_run_that_fails(gate: Gate) -> None:
    store = _store()
    failing = dataclasses.replace(failing_gate(gate, lambda width: True), store=store)
    with pytest.raises(InferenceError):
        failing.check("hello")
    # Where its windows are is known, and nothing about them.
    assert not failing.ask(["hello"], store=store)[0].keys
    assert store.facts.n_entries == 1


# Keys


def test_keys_tell_apart_everything_that_logits_depend_on() -> None:
    store, row = _store(), [(1, 2, 3)]
    sources = [SOURCE, *((*SOURCE[:i], "other", *SOURCE[i + 1 :]) for i in range(len(SOURCE)))]
    owners: list[Owner] = [NOBODY, ("a", None), ("", "a"), ("a", "a"), ("b", None)]
    found = [store.keys(source, owner, row)[0] for source in sources for owner in owners]
    found += _keys(store, [(1, 2), (1, 2, 4), (1, 2, 3, 0), (3, 2, 1), (258, 3), (66051,), ()])
    assert len(set(found)) == len(found)
    assert {len(key) for key in found} == {16}


def test_keys_need_the_secret() -> None:
    assert _keys(_store(), [(1, 2)]) != _keys(_store(), [(1, 2)])


def test_a_shared_store_knows_no_owners() -> None:
    store = _store(shared=True)
    assert _keys(store, [(1,)], ("a", "b")) == _keys(store, [(1,)], NOBODY)


def _without(i: int) -> Callable[..., list[bytes]]:
    """Return a way to make keys that forgets one part of the source."""
    keys = LogitStore.keys

    def forgetful(self: LogitStore, source: tuple[str, ...], *rest: object) -> list[bytes]:
        return keys(self, source[:i] + source[i + 1 :], *rest)  # type: ignore[arg-type]

    return forgetful


def _mixed_up(gate: Gate, other: Gate) -> bool:
    """Return True if one store mixes up the levels of a gate, or two bundles."""
    store = _store()
    texts = ["hello"]
    for each in (gate, other, gate):
        answers = each.answer(each.ask(texts, all_levels=True), store=store)
        if answers != each.answer(each.ask(texts, all_levels=True)):
            return True
    return False


def test_a_store_that_ignores_the_level_or_the_bundle_is_found_out(
    gate: Gate, bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_graph(bundle_copy, "level1", constant_graph([-1.0, 1.0]))
    other = Gate.open(bundle_copy, engine=EngineOptions(threads=1))
    # Of as many labels as Level 1, so that only a wrong answer gives a mixture away.
    twin = dataclasses.replace(
        other.level1,
        level="level2",
        spec=dataclasses.replace(other.level1.spec, variants=other.level2.spec.variants),
    )
    two = dataclasses.replace(gate, hazard_level=None)
    assert not _mixed_up(gate, other)
    monkeypatch.setattr(LogitStore, "keys", _without(1))
    assert _mixed_up(two, dataclasses.replace(other, hazard_level=None))
    monkeypatch.undo()

    def levels_mixed_up() -> bool:
        store, tokens = _store(), gate.level1.tokenizer.encode(["hello"])
        same_bundle = dataclasses.replace(twin, bundle=gate.bundle)
        gate.level1.window_logits(tokens, store=store, owners=[NOBODY])
        (found,) = same_bundle.window_logits(tokens, store=store, owners=[NOBODY])
        return bool((found != same_bundle.window_logits(tokens)[0]).any())

    assert not levels_mixed_up()
    monkeypatch.setattr(LogitStore, "keys", _without(0))
    assert levels_mixed_up()


# Bounds


def test_the_least_recently_used_window_goes_first() -> None:
    store = _store(1300)
    keys = _keys(store, [(i,) for i in range(4)])
    store.keep(keys[:3], _logits(0, 1, 2))
    assert store.has(keys) == [True, True, True, False]
    store.find(keys[:1])
    store.keep(keys[3:], _logits(3))
    assert store.has(keys) == [True, False, True, True]
    facts = store.facts
    assert (facts.n_entries, facts.evictions, facts.hits, facts.misses) == (3, 1, 1, 0)
    assert facts.n_bytes <= 1300


def test_a_window_that_is_kept_twice_counts_once() -> None:
    store = _store()
    (key,) = _keys(store, [(1,)])
    store.keep([key], _logits(1))
    n_bytes = store.facts.n_bytes
    store.keep([key], _logits(2))
    assert (store.facts.n_entries, store.facts.n_bytes) == (1, n_bytes)
    (found,) = store.find([key])
    assert found is not None
    assert found.tolist() == [2, -2]


def test_a_window_larger_than_the_store_is_not_kept() -> None:
    store = _store(100)
    keys = _keys(store, [(1,)])
    store.keep(keys, _logits(1))
    assert store.facts == StoreFacts(evictions=1)
    assert len(read_once(store, keys, lambda _: _logits(1))) == 1


@pytest.mark.parametrize("n_labels", [2, 9, 100])
def test_memory_stays_below_the_limit(n_labels: int) -> None:
    limit = 1 << 18
    logits = np.zeros((1, n_labels), dtype=np.float32)
    tracemalloc.start()
    store = _store(limit)
    before, _ = tracemalloc.get_traced_memory()
    for i in range(1500):
        store.keep(_keys(store, [(i,)]), logits)
    tracemalloc.reset_peak()
    for i in range(1500, 2000):
        store.keep(_keys(store, [(i,)]), logits)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert store.facts.evictions > 0
    assert limit / 3 < peak - before <= limit


def test_clear_drops_windows_and_keeps_counts() -> None:
    store = _store()
    keys = _keys(store, [(1,), (2,)])
    store.keep(keys, _logits(1, 2))
    store.find(keys)
    store.clear()
    assert store.facts == StoreFacts(hits=2)
    assert store.has(keys) == [False, False]


def test_counts_since_an_earlier_look() -> None:
    earlier = StoreFacts(hits=1, misses=2, evictions=3, n_entries=9, n_bytes=90)
    later = StoreFacts(hits=5, misses=5, evictions=5, n_entries=4, n_bytes=40)
    expected = StoreFacts(hits=4, misses=3, evictions=2, n_entries=4, n_bytes=40)
    assert later.since(earlier) == expected


def test_limits_refuse_a_negative_size_and_zero_turns_off() -> None:
    with pytest.raises(BundleError, match="at least 0, got -1"):
        StoreLimits(max_bytes=-1)
    assert LogitStore.of(NO_STORE) is None


# Threads and processes

_FORK = """
import os, signal, sys
import numpy as np
from hazgate.engine.logit_store import NOBODY, LogitStore, StoreLimits

store = LogitStore(StoreLimits())
keys = store.keys(("level1",), NOBODY, [(1,)])
logits = np.zeros((1, 2), dtype=np.float32)
store.keep(keys, logits)
# A child that waited for this lock would never answer.
with store._content.lock:
    process = os.fork()
    if process == 0:
        signal.alarm(60)
        own = store.keys(("level1",), NOBODY, [(1,)])
        store.keep(own, logits)
        is_own = own != keys and store.has(keys) == [False] and store.facts.n_entries == 1
        os._exit(0 if is_own else 1)
_, status = os.waitpid(process, 0)
assert store.has(keys) == [True]
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_many_threads_get_their_own_answers(gate: Gate) -> None:
    stored = dataclasses.replace(gate, store=_store(20_000))
    texts = [f"hello {'good ' * (i % 40)}" for i in range(200)]
    expected = {text: gate.check(text) for text in set(texts)}
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(stored.check, texts)) == [expected[text] for text in texts]
    assert stored.store is not None
    facts = stored.store.facts
    assert facts.hits + facts.misses >= 200
    assert facts.n_bytes <= 20_000


def test_a_forked_process_has_a_store_and_a_secret_of_its_own() -> None:
    done = run_python("-c", _FORK)
    assert done.returncode == 0, done.stderr
