"""Azure's own client asks hazgate to analyse texts."""

from collections.abc import Iterator

import pytest
from azure.ai.contentsafety import ContentSafetyClient
from azure.ai.contentsafety.models import AnalyzeTextOptions
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from hazgate import Gate, Policy
from hazgate.serving.http.app import create_app
from hazgate.serving.keys import bearer_digest
from hazgate.serving.settings import ServeSettings
from tests.gateway.clients.test_boto3 import ONLY_FLAG
from tests.support.listening import listening

KEY = "a-known-key"
CATEGORIES = ["Hate", "SelfHarm", "Sexual", "Violence"]


def _client(url: str, key: str = "any") -> ContentSafetyClient:
    return ContentSafetyClient(url, AzureKeyCredential(key), retry_total=0)


@pytest.fixture(scope="module")
def client(spotting: Gate) -> Iterator[ContentSafetyClient]:
    with listening(create_app(spotting, ServeSettings())) as url:
        yield _client(url)


def _severities(client: ContentSafetyClient, options: AnalyzeTextOptions) -> dict[str, int | None]:
    found = client.analyze_text(options)
    assert found.blocklists_match == []
    return {str(entry.category): entry.severity for entry in found.categories_analysis}


def test_a_harmless_text_has_severity_0_everywhere(client: ContentSafetyClient) -> None:
    found = _severities(client, AnalyzeTextOptions(text="good"))
    assert found == dict.fromkeys(CATEGORIES, 0)


def test_a_flagged_text_has_its_category(client: ContentSafetyClient) -> None:
    found = _severities(client, AnalyzeTextOptions(text="good morning"))
    assert found == {**dict.fromkeys(CATEGORIES, 0), "Sexual": 6}


def test_categories_and_levels_are_those_that_were_asked_for(client: ContentSafetyClient) -> None:
    options = AnalyzeTextOptions(
        text="morning", categories=["Sexual"], output_type="EightSeverityLevels"
    )
    found = _severities(client, options)
    assert list(found) == ["Sexual"]
    assert found["Sexual"] in (6, 7)


def test_without_blocklists_halting_on_them_changes_nothing(client: ContentSafetyClient) -> None:
    options = AnalyzeTextOptions(text="morning", halt_on_blocklist_hit=True, blocklist_names=[])
    assert _severities(client, options)["Sexual"] == 6


def test_what_the_policy_only_flags_is_below_what_it_blocks(spotting: Gate) -> None:
    gate = spotting.with_policy(Policy.parse(ONLY_FLAG))
    with listening(create_app(gate, ServeSettings())) as url:
        assert _severities(_client(url), AnalyzeTextOptions(text="morning"))["Sexual"] == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (AnalyzeTextOptions(text=""), "empty"),
        (AnalyzeTextOptions(text="good", blocklist_names=["ours"]), "blocklistNames"),
        (AnalyzeTextOptions(text="good", categories=["Rudeness"]), "categories"),
    ],
)
def test_errors_are_azures(
    options: AnalyzeTextOptions, said: str, client: ContentSafetyClient
) -> None:
    with pytest.raises(HttpResponseError) as caught:
        client.analyze_text(options)
    assert caught.value.status_code == 400
    assert caught.value.error is not None
    assert caught.value.error.code == "InvalidRequestBody"
    assert said in str(caught.value.error.message)


def test_the_key_is_the_clients_own(spotting: Gate) -> None:
    digest = bearer_digest(f"Bearer {KEY}")
    assert digest is not None
    with listening(create_app(spotting, ServeSettings(), [digest])) as url:
        found = _severities(_client(url, KEY), AnalyzeTextOptions(text="good"))
        assert found["Violence"] == 0
        with pytest.raises(ClientAuthenticationError):
            _client(url, "another").analyze_text(AnalyzeTextOptions(text="good"))
