"""Only texts under calibrated thresholds leave early, and everything else is read whole."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazgate import BundleError, Classifier, Gate, Policy
from hazgate.engine.early_graph import EarlyGraph
from hazgate.engine.logit_store import NO_STORE, LogitStore, StoreLimits
from hazgate.engine.options import EngineOptions, ExitOptions
from hazgate.errors import InferenceError
from hazgate.questions import TOKENS_PER_ANSWER
from tests.support.early_spotter import VARIANT, early_exits
from tests.support.exits import LOWEST, exits_data

OpenEarly = Callable[..., Gate]
SAFE, LATER, FLAGGED, MISSED = "any old words", "good day", "this morning", "the whole world"
LONG = " ".join([*["word"] * 20, "good", *["word"] * 20])


def _policy(controversial: float, unsafe: float, more: str = "") -> Policy:
    return Policy.parse(
        f"""
schema_version = 1
name = "trial"
mode = "strict"
[gate]
controversial = {controversial}
unsafe = {unsafe}
[hazards.default]
action = "block"
threshold = 0.0
{more}
""".encode()
    )


@pytest.fixture(scope="module")
def both_gates(early_spotter: Path) -> tuple[Gate, Gate]:
    """A gate with a store of logits, and one without."""
    kept, plain = (
        EngineOptions(variant=VARIANT, threads=1, exits=ExitOptions(audit_share=0.0), store=store)
        for store in (StoreLimits(), NO_STORE)
    )
    return Gate.open(early_spotter, engine=kept), Gate.open(early_spotter, engine=plain)


def test_a_text_leaves_at_the_first_exit_that_lets_it_go(open_early: OpenEarly) -> None:
    verdicts = open_early().check_many([SAFE, LATER, FLAGGED])
    assert [verdict.decided_after for verdict in verdicts] == [1, 2, None]
    assert [verdict.flagged for verdict in verdicts] == [False, False, True]


def test_what_is_read_whole_is_as_without_exits_to_the_bit(
    open_early: OpenEarly, early_spotter: Path
) -> None:
    plain = Gate.open(early_spotter, engine=EngineOptions(variant="int8", threads=1))
    texts = [SAFE, LATER, FLAGGED, MISSED, LONG]
    whole = open_early().check_many(texts, all_levels=True)
    expected = plain.check_many(texts, all_levels=True)
    assert [(v.unsafe, v.scores, v.hazards) for v in whole] == [
        (v.unsafe, v.scores, v.hazards) for v in expected
    ]
    assert all(verdict.decided_after is None for verdict in whole)
    early = open_early().check(FLAGGED)
    assert (early.unsafe, early.hazards) == (plain.check(FLAGGED).unsafe, expected[2].hazards)


def test_a_text_is_decided_after_its_last_window_and_whole_if_any_was(
    open_early: OpenEarly,
) -> None:
    gate = open_early()
    assert gate.check(LONG).tokens.windows > 1
    assert gate.check(LONG).decided_after == 2
    assert gate.check(f"{LONG} morning").decided_after is None


def test_a_verdict_says_after_how_many_layers_only_if_it_left(open_early: OpenEarly) -> None:
    early, whole = open_early().check_many([SAFE, FLAGGED])
    assert early.to_dict()["decided_after"] == 1
    assert "decided_after" not in whole.to_dict()
    assert early.moved(3).decided_after == 1


@pytest.mark.parametrize(
    ("policy", "leaves"),
    [
        (_policy(0.3, 0.7), True),
        (_policy(0.5, 0.5), True),
        (_policy(0.3, 0.8), False),
        (_policy(0.4, 0.7), False),
        # What the calibrated threshold is at temperature 1: sigmoid(2 logit(0.5)) is 0.5.
        (_policy(0.5, 0.5, "[temperature]\ngate = 2.0"), True),
        (_policy(0.3, 0.7, "[temperature]\ngate = 2.0"), False),
        (_policy(0.3, 0.7, "[hazards.S7_hate]\naction = 'flag'\nalways = 0.9"), False),
    ],
    ids=["both", "one", "unsafe", "controversial", "temperature", "another temperature", "always"],
)
def test_a_text_leaves_only_if_every_threshold_was_calibrated(
    open_early: OpenEarly, policy: Policy, leaves: bool
) -> None:
    decided = open_early(policy=policy).check(SAFE).decided_after
    assert decided == (1 if leaves else None)
    shadowed = open_early(policy=_policy(0.3, 0.7), shadow=policy).check(SAFE)
    assert (shadowed.decided_after is not None) == leaves
    coverage = open_early(policy=policy).coverage
    assert coverage is not None
    assert bool(coverage.n_leaving) == leaves


def test_a_text_of_one_role_leaves_while_its_neighbour_of_another_is_read_whole(
    open_early: OpenEarly,
) -> None:
    gate = open_early(policy=_policy(0.3, 0.7, "[roles.tool.gate]\ncontroversial = 0.2"))
    user, tool = gate.check_many([SAFE, SAFE], roles=["user", "tool"])
    assert (user.decided_after, tool.decided_after) == (1, None)
    coverage = gate.coverage
    assert coverage is not None
    assert 0 < coverage.n_leaving < coverage.n_rules
    assert coverage.missing[0] == pytest.approx(0.2)


def test_a_threshold_that_was_not_calibrated_turns_exits_off_and_says_so(
    open_early: OpenEarly,
) -> None:
    gate = open_early(threshold=0.42)
    assert gate.check(SAFE).decided_after is None
    coverage = gate.coverage
    assert coverage is not None
    assert not coverage.n_leaving
    assert coverage.missing[0] == pytest.approx(0.42)


def test_labels_of_a_level_are_never_those_of_a_probe(open_early: OpenEarly) -> None:
    gate = open_early()
    (asked,) = gate.ask([SAFE], whole=True)
    assert gate.answer([asked])[0].decided_after is None
    (classified,) = gate.level1.classify([SAFE])
    assert classified.scores["unsafe"] == gate.check(SAFE, all_levels=True).unsafe


def test_a_window_that_left_is_never_taken_for_one_that_was_read_whole(
    open_early: OpenEarly,
) -> None:
    gate = open_early(store=StoreLimits())
    assert gate.check(MISSED).decided_after == 1
    whole = gate.check(MISSED, all_levels=True)
    assert (whole.flagged, whole.decided_after) == (True, None)
    assert gate.check(MISSED).decided_after == 1
    store = gate.store
    assert store is not None
    # Level 1 read two kinds of windows, Level 2 one, each once.
    assert (store.facts.misses, store.facts.hits) == (3, 1)


@given(texts=st.lists(st.sampled_from([SAFE, LATER, FLAGGED, MISSED, LONG]), max_size=6))
def test_a_store_changes_no_verdict_of_a_text_that_may_leave(
    both_gates: tuple[Gate, Gate], texts: list[str]
) -> None:
    kept, plain = both_gates
    assert kept.store is not None
    kept.store.clear()
    for all_levels in (False, True, False):
        assert kept.check_many(texts, all_levels=all_levels) == plain.check_many(
            texts, all_levels=all_levels
        )


def test_the_windows_of_a_known_text_are_found_by_whether_it_may_leave(
    open_early: OpenEarly,
) -> None:
    gate, text = open_early(store=StoreLimits()), "word " * 9
    gate.check(text)
    known = gate.level1.known(gate.store)
    assert known is not None
    (early,) = gate.ask([text], store=gate.store)
    (whole,) = gate.ask([text], store=gate.store, whole=True)
    assert early.keys
    assert not whole.keys
    # All that it costs is the answer.
    assert known.n_tokens_to_read(early) == TOKENS_PER_ANSWER
    assert known.n_tokens_to_read(whole) == whole.n_tokens > TOKENS_PER_ANSWER


def test_what_is_audited_is_read_whole_and_counted(open_early: OpenEarly) -> None:
    gate = open_early(audit_share=1.0)
    verdicts = gate.check_many([SAFE, LATER, FLAGGED])
    assert all(verdict.decided_after is None for verdict in verdicts)
    exits = gate.level1.exits
    assert exits is not None
    counts = exits.facts.counts
    assert (counts.n_audited, counts.n_flagged, counts.n_missed) == (3, 1, 0)
    gate.check(FLAGGED, all_levels=True)
    assert exits.take_counts() == counts
    assert exits.take_counts().n_audited == 0


def test_exits_that_miss_too_much_turn_off_by_themselves_and_say_so_once(
    open_early: OpenEarly, caplog: pytest.LogCaptureFixture
) -> None:
    gate = open_early(audit_share=1.0)
    exits = gate.level1.exits
    assert exits is not None
    with caplog.at_level(logging.ERROR, logger="hazgate.exits"):
        for _ in range(20):
            gate.check(MISSED)
    assert not exits.on
    assert not gate.level1.lets_leave
    assert exits.facts.lower_bound > 0.005
    (line,) = caplog.messages
    assert "early exits are off" in line
    assert MISSED not in line
    assert gate.check(SAFE).decided_after is None


def test_a_question_asked_before_exits_turned_off_is_read_whole(open_early: OpenEarly) -> None:
    gate = open_early()
    asked = gate.ask([SAFE])
    exits = gate.level1.exits
    assert exits is not None
    exits._on = False
    assert gate.answer(asked)[0].decided_after is None


def test_a_refitted_probe_file_takes_the_place_of_the_bundles(
    open_early: OpenEarly, tmp_path: Path
) -> None:
    file = tmp_path / "fitted.json"
    file.write_bytes(early_exits(limits=[-100.0, LOWEST - 1]).dump())
    gate = open_early(file=file)
    assert gate.check(SAFE).decided_after == 2
    exits = gate.level1.exits
    assert exits is not None
    assert exits.source == str(file)


def test_what_other_probes_let_go_is_not_found_in_a_store(
    open_early: OpenEarly, tmp_path: Path
) -> None:
    file = tmp_path / "fitted.json"
    file.write_bytes(early_exits(limits=[-100.0, LOWEST - 1]).dump())
    store = LogitStore(StoreLimits())
    for gate, after in ((open_early(), 1), (open_early(file=file), 2), (open_early(), 1)):
        (verdict,) = gate.answer(gate.ask([SAFE], store=store), store=store)
        assert verdict.decided_after == after


WRONG_FILES: dict[str, tuple[dict[str, object], str]] = {
    "of another graph": ({"graph_sha256": "f" * 64}, "is for another graph"),
    "of another level": ({"level": "level2"}, "is for another graph"),
    "of other layers": ({"after_layers": [1, 3]}, "is for another graph"),
    "of another size": ({"probes": [[0.0] * 4, [0.0] * 4]}, "expected probes of shape"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_a_probe_file_of_another_bundle_is_refused(
    open_early: OpenEarly, tmp_path: Path, case: str
) -> None:
    changes, expected = WRONG_FILES[case]
    file = tmp_path / "fitted.json"
    file.write_bytes(early_exits(**changes).dump())
    with pytest.raises(BundleError, match=expected):
        open_early(file=file)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda text: text.replace("0.0", "NaN", 1), "not a JSON document"),
        (lambda text: text.replace('"n_missed": 1,', '"n_missed": 9,', 1), "do not prove"),
        (lambda text: text.replace("-3.0", "3.0", 1), "limits"),
    ],
    ids=["NaN", "a claim that does not follow", "a limit above the threshold"],
)
def test_a_wrong_probe_file_opens_nothing(
    open_early: OpenEarly, tmp_path: Path, change: Callable[[str], str], expected: str
) -> None:
    file = tmp_path / "fitted.json"
    file.write_text(change(early_exits().dump().decode()))
    with pytest.raises(BundleError, match=expected):
        open_early(file=file)


def test_a_probe_file_for_a_variant_without_exits_is_refused_by_name(
    early_spotter: Path, tmp_path: Path
) -> None:
    file = tmp_path / "fitted.json"
    file.write_bytes(early_exits().dump())
    engine = EngineOptions(variant="int8", exits=ExitOptions(file=file))
    with pytest.raises(BundleError, match=r"'int8'.* has none: .* ask for early"):
        Gate.open(early_spotter, engine=engine)
    with pytest.raises(BundleError, match=r"'int8'.* has none: .* ask for early"):
        Classifier.open(early_spotter, "level2", engine=engine)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(BundleError, match="audit_share must be from 0 to 1"):
        ExitOptions(audit_share=share)


def test_rows_leave_only_a_graph_that_has_exits(early_spotter: Path) -> None:
    plain = Classifier.open(
        early_spotter, "level1", engine=EngineOptions(variant="int8", threads=1)
    )
    ids = np.array([[2, 3]], dtype=np.int64)
    with pytest.raises(InferenceError, match="has no early exits"):
        plain.session.run(ids, np.ones_like(ids), np.array([True]))


@pytest.mark.parametrize(
    ("column", "may_leave"), [(3.0, True), (-1.0, True), (1.0, False), (0.5, True), (2.5, False)]
)
def test_an_exit_that_cannot_be_is_an_error(column: float, may_leave: bool) -> None:
    graph = EarlyGraph.of("level1-early.onnx", early_exits())
    graph.check_column(np.array([1.0, 2.0, 0.0]), np.array([True, True, True]))
    graph.check_column(np.array([-1.0, -2.0, 0.0]), np.array([False, False, False]))
    with pytest.raises(InferenceError, match="1 of 1 rows have exits that cannot be"):
        graph.check_column(np.array([column], dtype=np.float32), np.array([may_leave]))


def test_the_bundles_own_probe_file_is_verified_like_any_file(
    early_spotter: Path, tmp_path: Path
) -> None:
    assert json.loads((early_spotter / "level1-exits.json").read_text()) == json.loads(
        early_exits().dump()
    )
    assert exits_data()["claim"]["thresholds"] == [0.3, 0.5, 0.7]
