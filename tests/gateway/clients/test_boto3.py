"""AWS's own client asks hazgate to apply a guardrail."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest
import trustme
from botocore.config import Config
from botocore.exceptions import ClientError

from hazgate import Gate, Policy
from hazgate.engine.logit_store import NO_STORE
from hazgate.serving.http.app import create_app
from hazgate.serving.keys import bearer_digest
from hazgate.serving.markers import MARKER
from hazgate.serving.settings import ServeSettings
from tests.gateway.test_masking import LONG, MASKS
from tests.support.listening import listening
from tests.support.sessions import breakable_gate
from tests.support.spotter import MORNING_HAZARD
from tests.support.tiny import HAZARDS

# Made at run time from the service's model.
Client: TypeAlias = Any
KEY = "a-known-key"
ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc"
IMAGE = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
ONLY_FLAG = b"""schema_version = 1
name = "review"
mode = "loose"
[gate]
controversial = 0.4
unsafe = 0.5
[hazards]
default = { action = "flag", threshold = 0.0 }
"""


def _client(url: str, trusted: str | None = None) -> Client:
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=url,
        verify=trusted,
        region_name="us-east-1",
        aws_access_key_id="dummy",
        aws_secret_access_key="dummy",
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def client(spotting: Gate) -> Iterator[Client]:
    with listening(create_app(spotting, ServeSettings())) as url:
        yield _client(url)


def _applied(client: Client, *content: object, **options: object) -> Client:
    named = {"guardrailIdentifier": "abc", "guardrailVersion": "1", "source": "INPUT"}
    return client.apply_guardrail(**{**named, **options}, content=list(content))


def _text(text: str, *qualifiers: str) -> dict[str, object]:
    return {"text": {"text": text, **({"qualifiers": list(qualifiers)} if qualifiers else {})}}


@pytest.mark.parametrize("identifier", ["abc", ARN])
def test_a_harmless_text_passes(identifier: str, client: Client) -> None:
    answer = _applied(client, _text("good"), guardrailIdentifier=identifier)
    assert answer["action"] == "NONE"
    assert (answer["outputs"], answer["assessments"]) == ([], [])
    assert answer["guardrailCoverage"]["textCharacters"] == {"guarded": 4, "total": 4}
    assert answer["usage"]["contentPolicyUnits"] == 1


@pytest.mark.parametrize("source", ["INPUT", "OUTPUT"])
@pytest.mark.parametrize("qualifier", ["guard_content", "query", "grounding_source"])
def test_any_unsafe_block_intervenes(source: str, qualifier: str, client: Client) -> None:
    answer = _applied(client, _text("good"), _text("good morning", qualifier), source=source)
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    (output,) = answer["outputs"]
    assert HAZARDS[MORNING_HAZARD] in output["text"]
    assert "morning" not in output["text"]
    (assessment,) = answer["assessments"]
    (found,) = assessment["contentPolicy"]["filters"]
    assert found == {"type": "SEXUAL", "confidence": "HIGH", "action": "BLOCKED", "detected": True}


def test_the_full_scope_lists_filters_that_found_nothing(client: Client) -> None:
    answer = _applied(client, _text("good"), outputScope="FULL")
    filters = answer["assessments"][0]["contentPolicy"]["filters"]
    assert len(filters) == 6
    assert {entry["action"] for entry in filters} == {"NONE"}


def test_an_image_is_never_passed_as_none(client: Client) -> None:
    answer = _applied(client, _text("good"), IMAGE)
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    assert "image" in answer["outputs"][0]["text"]
    assert answer["guardrailCoverage"]["images"] == {"guarded": 0, "total": 1}
    assert answer["guardrailCoverage"]["textCharacters"]["guarded"] == 0


def test_a_policy_that_only_flags_does_not_intervene(spotting: Gate) -> None:
    gate = spotting.with_policy(Policy.parse(ONLY_FLAG))
    with listening(create_app(gate, ServeSettings())) as url:
        assert _applied(_client(url), _text("morning"))["action"] == "NONE"


@pytest.fixture(scope="module")
def masking(spotting: Gate) -> Iterator[Client]:
    # "morning" is masked, "world" is blocked; images pass unread.
    policy = MASKS.replace("[gate]", 'unread = "allow"\n[gate]')
    gate = spotting.with_policy(Policy.parse(policy.encode()))
    with listening(create_app(gate, ServeSettings())) as url:
        yield _client(url)


@pytest.mark.parametrize("source", ["INPUT", "OUTPUT"])
def test_a_masked_text_comes_back_among_all_texts(
    source: str, masking: Client, spotting: Gate
) -> None:
    answer = _applied(masking, _text("good"), IMAGE, _text(LONG), source=source)
    assert answer["action"] == "GUARDRAIL_INTERVENED"
    assert answer["actionReason"] == "Guardrail masked."
    same, masked = (output["text"] for output in answer["outputs"])
    assert same == "good"
    assert "morning" not in masked
    assert MARKER in masked
    assert masked.startswith("good good")
    assert not spotting.check(masked).flagged
    (assessment,) = answer["assessments"]
    (found,) = assessment["contentPolicy"]["filters"]
    assert found == {"type": "SEXUAL", "confidence": "HIGH", "action": "NONE", "detected": True}
    assert answer["guardrailCoverage"]["images"] == {"guarded": 0, "total": 1}


def test_what_is_blocked_beside_what_is_masked_has_one_output(masking: Client) -> None:
    answer = _applied(masking, _text("morning"), _text("world"))
    (output,) = answer["outputs"]
    assert output["text"].startswith("Blocked by the safety gate")
    filters = answer["assessments"][0]["contentPolicy"]["filters"]
    assert {entry["action"] for entry in filters} == {"BLOCKED"}


def test_an_image_that_nobody_read_is_blocked_and_nothing_is_masked(spotting: Gate) -> None:
    gate = spotting.with_policy(Policy.parse(MASKS.encode()))
    with listening(create_app(gate, ServeSettings())) as url:
        answer = _applied(_client(url), _text("morning"), IMAGE)
    (output,) = answer["outputs"]
    assert "image" in output["text"]
    assert MARKER not in output["text"]


def test_texts_that_are_harmless_come_back_as_none_though_the_policy_masks(masking: Client) -> None:
    answer = _applied(masking, _text("good"))
    assert (answer["action"], answer["outputs"], answer["assessments"]) == ("NONE", [], [])


@pytest.mark.parametrize("content", [[], [{"text": {"text": " "}}]])
def test_an_empty_request_is_a_validation_error(content: list[object], client: Client) -> None:
    with pytest.raises(client.exceptions.ValidationException, match="nothing"):
        _applied(client, *content)


def test_a_failed_engine_is_an_internal_error_unless_it_may_fail_open(spotting: Gate) -> None:
    breakable, switch = breakable_gate(spotting)
    # A known text would need no engine.
    with listening(create_app(breakable, ServeSettings(store=NO_STORE))) as url:
        client = _client(url)
        assert _applied(client, _text("good"))["action"] == "NONE"
        switch.broken = True
        with pytest.raises(client.exceptions.InternalServerException):
            _applied(client, _text("good"))


def test_a_key_is_sent_as_a_bearer_token_over_tls(
    spotting: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    digest = bearer_digest(f"Bearer {KEY}")
    assert digest is not None
    app = create_app(spotting, ServeSettings(), [digest])
    with listening(app, certificate=tmp_path / "server.pem") as url:
        trusted = os.fspath(tmp_path / "ca.pem")
        # A connection that stays open would keep the server from ending.
        with closing(_client(url, trusted)) as signing:
            with pytest.raises(ClientError) as caught:
                _applied(signing, _text("good"))
            assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", KEY)
        with closing(_client(url, trusted)) as bearing:
            assert _applied(bearing, _text("good"))["action"] == "NONE"
