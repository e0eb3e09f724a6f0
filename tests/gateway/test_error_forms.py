"""Errors: each protocol's clients get them in their own server's form, wherever they come from."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import openai
import pytest
from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.engine.logit_store import NO_STORE
from hazgate.errors import InferenceError
from hazgate.serving.failures import failure_of
from hazgate.serving.http.app import create_app
from hazgate.serving.keys import bearer_digest
from hazgate.serving.settings import RequestTable, ServeSettings
from tests.support.listening import listening
from tests.support.sessions import breakable_gate

# Of whatever library the test client is built on.
Answer: TypeAlias = Any
KEY = "a-known-key"
AZURE = "/contentsafety/text:analyze?api-version=2023-10-01"
BEDROCK = "/guardrail/g/version/1/apply"
BODIES: dict[str, dict[str, object]] = {
    "/v1/moderations": {"input": "good"},
    "/classify": {"input": "good"},
    "/predict": {"inputs": "good"},
    "/v2/models/tiny/infer": {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["good"]}]
    },
    BEDROCK: {"source": "INPUT", "content": [{"text": {"text": "good"}}]},
    AZURE: {"text": "good"},
}


def _check_form(path: str, answer: Answer) -> None:
    body = answer.json()
    if path in ("/v1/moderations", "/classify"):
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
    elif path == "/predict":
        assert set(body) == {"error", "error_type"}
        assert isinstance(body["error"], str)
    elif "/v2" in path:
        assert set(body) == {"error"}
        assert isinstance(body["error"], str)
    elif path == BEDROCK:
        assert set(body) == {"message"}
        assert answer.headers["x-amzn-errortype"].endswith("Exception")
    else:
        assert set(body["error"]) == {"code", "message"}


@pytest.fixture(scope="module")
def small(spotting: Gate) -> Iterator[TestClient]:
    """Return a client of a server with a key and a small limit of bodies."""
    digest = bearer_digest(f"Bearer {KEY}")
    assert digest is not None
    settings = ServeSettings(request=RequestTable(max_body_bytes=400))
    with TestClient(create_app(spotting, settings, [digest])) as client:
        yield client


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("trouble", "statuses"),
    [
        ("no key", (401, 403)),
        ("too large", (400, 413)),
        ("not JSON", (400, 422)),
        ("wrong type", (400, 422)),
        ("wrong method", (400, 405)),
    ],
)
def test_every_error_has_its_protocols_form(
    trouble: str, statuses: tuple[int, ...], path: str, small: TestClient
) -> None:
    headers = {} if trouble == "no key" else {"authorization": f"Bearer {KEY}"}
    if trouble == "wrong method":
        answer = small.put(path, json={}, headers=headers)
    elif trouble == "not JSON":
        headers["content-type"] = "application/json"
        answer = small.post(path, content=b"{", headers=headers)
    else:
        body = {"too large": {"input": "good " * 100}, "wrong type": [7]}.get(trouble, BODIES[path])
        answer = small.post(path, json=body, headers=headers)
    assert answer.status_code in statuses, answer.text
    _check_form(path, answer)


def test_a_failed_engine_is_told_in_the_protocols_form(spotting: Gate) -> None:
    breakable, switch = breakable_gate(spotting)
    # A known text would need no engine.
    settings = ServeSettings(store=NO_STORE)
    with TestClient(create_app(breakable, settings)) as client:
        for path, body in BODIES.items():
            switch.broken = False
            assert client.post(path, json=body).status_code == 200
            switch.broken = True
            answer = client.post(path, json=body)
            assert answer.status_code == (424 if path == "/predict" else 500)
            _check_form(path, answer)


@pytest.mark.parametrize(
    "path",
    [
        *("/v2/models/other", "/v2/models/tiny/versions/1", "/v2/nothing"),
        # A client with a wrong base address.
        *("/lost/v2/models/tiny", "/v1/v2", "/lost/v2/health/ready"),
    ],
)
def test_an_unknown_path_of_kserve_is_one_sentence(path: str, small: TestClient) -> None:
    answer = small.get(path, headers={"authorization": f"Bearer {KEY}"})
    assert answer.status_code == 404
    _check_form(path, answer)


def test_azures_header_is_a_key_too(small: TestClient) -> None:
    for key, status in ((KEY, 200), ("another", 401)):
        headers = {"ocp-apim-subscription-key": key}
        assert small.post(AZURE, json={"text": "good"}, headers=headers).status_code == status


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openais_client_shows_type_and_param(spotting: Gate) -> None:
    with listening(create_app(spotting, ServeSettings())) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)
        assert client.moderations.create(input="morning").results[0].flagged
        with pytest.raises(openai.BadRequestError) as caught:
            client.moderations.create(input="")
        error = caught.value
        assert (error.type, error.param, error.code) == (
            "invalid_request_error",
            "input",
            "invalid_input",
        )
        assert "nothing to judge" in error.message
        with pytest.raises(openai.BadRequestError) as caught:
            client.moderations.create(input="good", extra_body={"threshold": 0.2})
        assert caught.value.type == "invalid_request_error"
        with pytest.raises(openai.BadRequestError) as caught:
            client.moderations.create(input=7)  # type: ignore[arg-type]
        assert caught.value.param == "input"


def test_a_failed_engines_own_words_are_no_answer() -> None:
    error = InferenceError("level1 failed on shape (1, 2): indices element out of bounds, idx=4711")
    answer = failure_of(error)
    assert (answer.status, answer.code) == (500, "inference_failed")
    assert "4711" not in answer.message
