"""Early exits are fitted on traffic without labels, and only what is proven is written."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hazgate import BundleError, Gate, InputError
from hazgate.engine.exits import Exits
from hazgate.engine.options import EngineOptions, ExitOptions
from hazgate_evaluation.calibration.exit_command import variant_with_exits, write_exits
from hazgate_evaluation.calibration.exit_fit import fit_exits
from hazgate_evaluation.calibration.exit_windows import ExitWindows, read_traffic, read_windows
from hazgate_evaluation.cli.calibrate import calibrate
from tests.support.early_spotter import VARIANT

MISSED = "the whole world"


def _words(random_: random.Random) -> str:
    return "".join(random_.choice("bcdfghjklm") for _ in range(8))


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts of which a half has a word that the whole model flags."""
    random_ = random.Random(7)
    rows = [
        {"text": f"{_words(random_)} {word} {_words(random_)}", "seen": "yesterday"}
        for word in ("morning", "world", "good", "other") * 750
    ]
    file = tmp_path_factory.mktemp("traffic") / "traffic.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def fitted(early_spotter: Path, traffic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The probe file that `traffic` gives."""
    out = tmp_path_factory.mktemp("fitted") / "exits.json"
    answer = CliRunner().invoke(
        calibrate,
        [str(early_spotter), "--exits", str(traffic), "--out", str(out)],
        catch_exceptions=False,
    )
    assert answer.exit_code == 0, answer.output
    assert "at most 0.50% of the windows" in answer.output
    return out


def test_what_the_bundles_own_exits_miss_is_read_whole_with_those_fitted_on_traffic(
    early_spotter: Path, fitted: Path
) -> None:
    own, new = (
        Gate.open(
            early_spotter,
            engine=EngineOptions(
                variant=VARIANT, threads=1, exits=ExitOptions(file=file, audit_share=0.0)
            ),
        )
        for file in (None, fitted)
    )
    assert own.check(MISSED).flagged is False
    verdict = new.check(MISSED)
    assert (verdict.flagged, verdict.decided_after) == (True, None)
    assert new.check("any old words").decided_after is not None


def test_the_claim_counts_what_the_graph_itself_lets_go(
    early_spotter: Path, traffic: Path, fitted: Path
) -> None:
    exits = Exits.parse(fitted.read_bytes(), source="fitted")
    assert exits.claim.source == "calibrate"
    gate = Gate.open(
        early_spotter,
        engine=EngineOptions(
            variant=VARIANT, threads=1, exits=ExitOptions(file=fitted, audit_share=0.0)
        ),
    )
    texts = read_traffic(traffic)
    windows = read_windows(gate, texts, lambda _: None)
    assert exits.claim.n_fitted == int((~windows.held_out).sum())
    evidence = exits.claim.evidence[0]
    assert evidence.n_texts == int(windows.held_out.sum())
    assert evidence.n_flagged == int((windows.unsafe[windows.held_out] >= 0.3).sum())
    left = [
        verdict.decided_after is not None
        for verdict in gate.check_many([each.text for each in texts])
    ]
    flagged = [
        verdict.flagged for verdict in gate.check_many([each.text for each in texts], whole=True)
    ]
    assert sum(a and b for a, b in zip(left, flagged, strict=True)) == 0
    assert np.mean(left) == pytest.approx(evidence.share_left, abs=0.05)


def test_thresholds_of_a_policy_are_proven_as_they_are_at_temperature_1(
    early_spotter: Path, traffic: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'schema_version = 1\nname = "p"\nmode = "strict"\n[temperature]\ngate = 2.0\n'
        "[gate]\ncontroversial = 0.4\nunsafe = 0.5\n"
        '[hazards]\ndefault = { action = "block", threshold = 0.0 }\n'
    )
    out = tmp_path / "exits.json"
    said = write_exits(early_spotter, traffic, out, None, thresholds=[0.5], policy=policy)
    thresholds = Exits.parse(out.read_bytes(), source="fitted").claim.thresholds
    assert thresholds == pytest.approx((0.4**2 / (0.4**2 + 0.6**2), 0.5))
    # That of tools' definitions, 0.9 at temperature 2, which no text reaches.
    assert "left out: P(unsafe) 0.987805, at which 598 flagged windows are missing" in said


def test_too_few_flagged_texts_write_nothing_and_say_how_many_are_missing(
    early_spotter: Path, traffic: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(traffic.read_text().splitlines(keepends=True)[:1000]))
    out = tmp_path / "exits.json"
    with pytest.raises(InputError, match=r"\d+ at P\(unsafe\) 0.3.* are missing of 598"):
        write_exits(early_spotter, few, out, None)
    assert not out.exists()


def _windows(n: int, *, told: bool, seed: int = 3) -> ExitWindows:
    """Windows whose state says if they are flagged, or says nothing."""
    random_ = np.random.default_rng(seed)
    unsafe = np.where(random_.random(n) < 0.5, 0.95, 0.01)
    states = random_.normal(size=(n, 2, 3)).astype(np.float32)
    if told:
        states[:, :, 0] += np.where(unsafe > 0.5, 20, -20)[:, None]
    return ExitWindows(
        states=states,
        unsafe=unsafe,
        group=np.arange(n),
        held_out=np.arange(n) % 2 == 0,
    )


def test_states_that_say_nothing_let_next_to_nothing_go() -> None:
    from hazgate.engine.exit_claim import ClaimTerms

    terms = ClaimTerms(max_missed_share=0.005, confidence=0.95, thresholds=(0.5,))
    told = fit_exits(_windows(4000, told=True), terms)
    assert told.evidence[0].share_left > 0.4
    assert told.evidence[0].n_missed == 0
    silent = fit_exits(_windows(4000, told=False), terms)
    assert silent.evidence[0].share_left < 0.05


def test_equal_texts_count_once_and_a_group_stays_together(tmp_path: Path) -> None:
    file = tmp_path / "traffic.jsonl"
    file.write_text(
        '{"text": "a"}\n{"text": "a"}\n{"text": "b", "group": "x"}\n{"text": "c", "group": "x"}\n'
    )
    a, b, c = read_traffic(file)
    assert (a.text, b.group == c.group, a.group == b.group) == ("a", True, False)


@pytest.mark.parametrize(
    ("content", "expected"),
    [("", "has no text"), ('{"texts": "a"}\n', "line 1"), ('{"text": 1}\n', "line 1")],
)
def test_a_file_without_texts_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "traffic.jsonl"
    file.write_text(content)
    with pytest.raises(InputError, match=expected):
        read_traffic(file)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--data", "a.jsonl", "--exits", "b.jsonl"],
        ["--exits", "b.jsonl", "--target-fpr", "0.1"],
        ["--exits", "b.jsonl", "--level", "pii"],
        ["--data", "a.jsonl", "--policy", "p.toml"],
        ["--data", "a.jsonl", "--threshold", "0.5"],
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, options: list[str]) -> None:
    out = str(tmp_path / "exits.json")
    answer = CliRunner().invoke(calibrate, ["nowhere", "--out", out, *options])
    assert answer.exit_code == 2, answer.output


def test_a_variant_without_exits_is_refused_with_those_that_have_some(
    early_spotter: Path, tiny_bundle: Path
) -> None:
    early = Gate.open(early_spotter, engine=EngineOptions(variant=VARIANT)).bundle.manifest
    assert variant_with_exits(early, None) == VARIANT
    with pytest.raises(BundleError, match=f"'int8' has no early exits; .* are {VARIANT}"):
        variant_with_exits(early, "int8")
    plain = Gate.open(tiny_bundle).bundle.manifest
    with pytest.raises(BundleError, match="no variant has early exits"):
        variant_with_exits(plain, None)
