"""An attack is measured beside honest requests, and its table says what held."""

import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.attacks import soak
from benchmarks.attacks.__main__ import main
from benchmarks.attacks.attacks import ATTACKS, BY_NAME, CLIENTS_ATTACKS
from benchmarks.attacks.measure import attacking, battlefield
from benchmarks.attacks.messages import AttackRequest
from benchmarks.attacks.results import (
    FILE,
    REGIONS,
    AttackFigures,
    AttackResults,
    HonestFigures,
    attack_table,
    figures_of,
)
from benchmarks.attacks.soak import AttackedSample, AttackedSoakResults
from benchmarks.harness.errors import WorkerFailed
from benchmarks.harness.store import load, save
from benchmarks.load.soak import SoakSample
from tests.support.results import toy_header
from tests.support.spotter import write_spotter


def _honest(p99_ms: float | None, *, n_lost: int = 0, n_late: int = 0) -> HonestFigures:
    return HonestFigures(n_asked=100, n_late=n_late, n_lost=n_lost, p99_ms=p99_ms)


def _figures(
    name: str, quiet: HonestFigures, attacked: HonestFigures, *, n_acts: int = 7
) -> AttackFigures:
    return AttackFigures(
        name=name, quiet=quiet, attacked=attacked, n_acts=n_acts, rss_bytes=210_000_000
    )


def _results(*attacks: AttackFigures) -> AttackResults:
    return AttackResults(
        header=toy_header(),
        label="this version",
        seconds=20,
        rate=20,
        deadline_s=0.5,
        attacks=attacks,
    )


def test_every_honest_request_has_one_fate() -> None:
    found = figures_of([0.010] * 97 + [None, math.nan, 0.012])
    assert (found.n_asked, found.n_late, found.n_lost) == (100, 1, 1)
    assert found.p99_ms is None
    assert figures_of([0.010] * 199 + [None]).p99_ms == 10.0
    assert figures_of([math.nan]).p99_ms is None


@pytest.mark.parametrize(
    ("quiet", "attacked", "held"),
    [
        (_honest(5.0), _honest(10.0), True),
        (_honest(5.0), _honest(10.1), False),
        (_honest(5.0), _honest(6.0, n_lost=1), False),
        (_honest(5.0), _honest(None), False),
        (_honest(None), _honest(5.0), False),
    ],
)
def test_an_attack_is_held_if_nothing_is_lost_and_p99_is_at_most_doubled(
    quiet: HonestFigures, attacked: HonestFigures, held: bool
) -> None:
    assert _figures("parts", quiet, attacked).held is held


def test_results_survive_the_disk_and_make_a_table_with_what_was_before(tmp_path: Path) -> None:
    older = _figures("parts", _honest(5.0), _honest(None, n_lost=9))
    run = _results(_figures("parts", _honest(5.0), _honest(8.0)))
    assert "Nothing was measured before." in attack_table(run)
    both = AttackResults(
        header=run.header,
        label=run.label,
        seconds=run.seconds,
        rate=run.rate,
        deadline_s=run.deadline_s,
        attacks=run.attacks,
        before=(older,),
        before_label="0.9",
    )
    save(both, tmp_path / FILE)
    assert load(AttackResults, tmp_path / FILE) == both
    shown = REGIONS["attacks-mini"](tmp_path)
    assert "| > 500 | 9 | 5.0 | 8.0 | 1.6 | 0 | 0 | 7 | 210 | yes |" in shown
    assert "Before is 0.9" in shown


def test_a_page_without_results_says_so(tmp_path: Path) -> None:
    assert REGIONS["attacks-mini"](tmp_path).startswith("Not measured yet")
    assert soak.REGIONS["soak-attacked-mini"](tmp_path).startswith("Not measured yet")


def test_a_soak_counts_honest_requests_and_attacks(tmp_path: Path) -> None:
    def sample(at_s: float, rss_bytes: int) -> AttackedSample:
        honest = SoakSample(at_s=at_s, rss_bytes=rss_bytes, answered=99, failed=0, late=1)
        return AttackedSample(honest=honest, n_acts=5)

    run = AttackedSoakResults(
        header=toy_header(),
        rate=10,
        share=0.05,
        deadline_s=0.5,
        samples=(sample(60, 100_000_000), sample(120, 103_000_000)),
    )
    save(run, tmp_path / soak.FILE)
    assert "| 2 | 200 | 198 | 2 | 0 | 10 | 103.0 | +3.0% |" in soak.REGIONS["soak-attacked-mini"](
        tmp_path
    )


def test_names_are_unique_and_clients_send_no_signals() -> None:
    assert len(BY_NAME) == len(ATTACKS)
    assert set(BY_NAME) - set(CLIENTS_ATTACKS) == {"reloads"}


def test_another_runtime_needs_a_label_and_a_file(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(tmp_path), "--runtime", str(tmp_path)])
    assert done.exit_code == 2
    assert "--label" in done.output


@pytest.mark.slow
def test_every_attack_reaches_the_server_and_the_server_outlives_all(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = write_spotter(tiny_bundle, tmp_path)
    with battlefield(bundle, "tiny") as field:
        for attack in ATTACKS:
            request = AttackRequest(names=(attack.name,), seconds=1.0)
            with attacking(field, request) as replies:
                pass
            assert replies[0].n_acts, attack.name
        mixed = AttackRequest(names=CLIENTS_ATTACKS, seconds=2.0, acts_per_s=20.0)
        with attacking(field, mixed) as replies:
            pass
        assert 1 <= replies[0].n_acts <= 60
        with pytest.raises(WorkerFailed, match="expected attacks of"):
            field.attacker.ask(AttackRequest(names=("none",), seconds=1.0), AttackFigures)
        assert field.server.stop() == 0
