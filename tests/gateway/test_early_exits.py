"""Early exits in service: settings, answers, metrics and logs."""

import logging
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from hazgate import BundleError, Gate
from hazgate.engine.options import EngineOptions, ExitOptions
from hazgate.serving.launch import _open_and_tell, open_served
from hazgate.serving.queue.ask import Ask
from hazgate.serving.queue.batcher import Batcher
from hazgate.serving.settings import EngineTable, ServeSettings
from hazgate.serving.source import ServeOptions
from tests.support.early_spotter import PROBE_FILE, VARIANT, early_exits
from tests.support.served import MARKER, served

SAFE, MISSED = "any old words", "the whole world"


def _settings(**engine: object) -> ServeSettings:
    table = EngineTable(variant=VARIANT, **{"audit_share": 0.0, **engine})  # type: ignore[arg-type]
    return ServeSettings(engine=table)


@pytest.fixture
def gate(early_spotter: Path) -> Gate:
    exits = ExitOptions(audit_share=0.0)
    return Gate.open(early_spotter, engine=EngineOptions(variant=VARIANT, threads=1, exits=exits))


def _verdict(client: TestClient, text: str, **more: object) -> dict[str, object]:
    (verdict,) = client.post("/v1/check", json={"text": text, **more}).json()["verdicts"]
    return dict(verdict)


def test_an_answer_says_after_how_many_layers_a_text_left_and_metrics_count_it(
    gate: Gate,
) -> None:
    with served(gate) as client:
        assert _verdict(client, f"{SAFE} {MARKER}")["decided_after"] == 1
        assert _verdict(client, "good day")["decided_after"] == 2
        assert "decided_after" not in _verdict(client, "morning")
        assert "decided_after" not in _verdict(client, SAFE, all_levels=True)
        figures = client.get("/metrics").text
    for layer, count in (("1", 1.0), ("2", 1.0)):
        assert (
            f'hazgate_exits_windows_total{{after_layer="{layer}",level="level1"}} {count}'
            in figures
        )
    assert 'hazgate_exits_windows_total{after_layer="none",level="level1"}' in figures
    assert "hazgate_exits_stopped 0.0" in figures
    assert MARKER not in figures


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/classify", {"inputs": MISSED}),
        ("/classify", {"inputs": MISSED, "contract": "score.v1"}),
        ("/predict", {"inputs": MISSED}),
        (
            "/v2/models/tiny/infer",
            {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [MISSED]}]},
        ),
    ],
    ids=["labels", "score", "predict", "kserve"],
)
def test_scores_are_never_those_of_a_probe(gate: Gate, path: str, body: object) -> None:
    with served(gate) as client:
        answer = client.post(path, json=body)
        figures = client.get("/metrics").text
    assert answer.status_code == 200, answer.text
    # P(unsafe) of the whole model; the probe's is near 0.
    assert "0.952" in answer.text
    assert 'after_layer="1"' not in figures


def test_info_says_what_is_claimed_and_under_how_many_rules_texts_may_leave(gate: Gate) -> None:
    with served(gate) as client:
        exits = client.get("/info").json()["exits"]
    assert exits["claim"].startswith("with 95% confidence, at most 0.50% of the windows")
    assert exits["on"] is True
    # A tool's definitions are unsafe from 0.9 on, which was not calibrated here.
    assert exits["coverage"] == {"n_rules": 7, "n_leaving": 6, "missing": [pytest.approx(0.9)]}


def test_exits_that_miss_too_much_turn_off_in_service_and_metrics_say_so(
    early_spotter: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audited = Gate.open(
        early_spotter,
        engine=EngineOptions(variant=VARIANT, threads=1, exits=ExitOptions(audit_share=1.0)),
    )
    with caplog.at_level(logging.ERROR, logger="hazgate.exits"), served(audited) as client:
        for i in range(12):
            _verdict(client, f"{'word ' * (i % 4)}{MISSED}{' more' * (i // 4)}")
        figures = client.get("/metrics").text
    assert "hazgate_exits_stopped 1.0" in figures
    assert 'hazgate_exits_audited_windows_total{outcome="missed"}' in figures
    assert len(caplog.messages) == 1
    assert audited.level1.lets_leave is False


def test_a_verdict_kept_from_a_text_that_left_is_not_given_after_exits_turned_off(
    gate: Gate,
) -> None:
    batcher = Batcher(gate, cache_entries=4)
    try:
        assert batcher.check(MISSED).decided_after == 1
        exits = gate.level1.exits
        assert exits is not None
        exits._on = False
        again = batcher.check(MISSED)
    finally:
        assert batcher.close(20)
    assert (again.flagged, again.decided_after) == (True, None)


def test_an_answer_of_scores_shares_nothing_with_one_that_may_leave(gate: Gate) -> None:
    batcher = Batcher(gate, cache_entries=4)
    try:
        assert batcher.check(MISSED).decided_after == 1
        (future,) = batcher.submit(Ask(texts=[MISSED], whole=True))
        assert future.result(20).decided_after is None  # type: ignore[union-attr]
    finally:
        assert batcher.close(20)


def test_a_refitted_probe_file_is_served_from_the_settings_and_from_the_command_line(
    early_spotter: Path, tmp_path: Path
) -> None:
    (tmp_path / "fitted.json").write_bytes(early_exits(limits=[-100.0, -3.0]).dump())
    config = tmp_path / "serve.toml"
    config.write_text(
        f'[engine]\nvariant = "{VARIANT}"\nexits = "fitted.json"\naudit_share = 0.0\n'
    )
    settings = ServeSettings.load(config)
    judge = open_served(early_spotter, settings)
    assert isinstance(judge, Gate)
    assert judge.check(SAFE).decided_after == 2
    own = ServeOptions(exits=str(early_spotter / PROBE_FILE)).over(settings)
    judge = open_served(early_spotter, own)
    assert isinstance(judge, Gate)
    assert judge.check(SAFE).decided_after == 1


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_that_is_none_is_refused_with_the_settings(tmp_path: Path, share: str) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(f"[engine]\naudit_share = {share}\n")
    with pytest.raises(BundleError, match=r"\$.engine.audit_share: must be from 0 to 1"):
        ServeSettings.load(config)


def test_a_server_whose_policy_lets_nothing_leave_says_so(
    early_spotter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'schema_version = 1\nname = "p"\nmode = "strict"\n'
        "[gate]\ncontroversial = 0.42\nunsafe = 0.5\n"
        '[hazards]\ndefault = { action = "block", threshold = 0.0 }\n'
    )
    with caplog.at_level(logging.INFO, logger="hazgate.serving"):
        _open_and_tell(early_spotter, _settings(), None)
        settings = _settings()
        settings = ServeSettings(
            engine=settings.engine, policy=type(settings.policy)(file=str(policy))
        )
        _open_and_tell(early_spotter, settings, None)
    partly, off = caplog.records
    assert "under 6 of 7 rules" in partly.message
    assert partly.levelno == logging.INFO
    assert off.levelno == logging.WARNING
    assert off.message.endswith("not calibrated: 0.42, 0.9; early exits are off")
