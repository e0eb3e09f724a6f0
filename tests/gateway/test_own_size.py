"""A request's own size, number or text never opens a route that fails open."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from starlette.testclient import TestClient

from hazgate import Gate, InferenceError, InputError
from hazgate.serving.http.app import create_app
from hazgate.serving.own_size import OwnLimits, OwnWork, check_tokens, excess, most_work
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.serving.settings import RequestTable, ServeSettings
from tests.support.sessions import watched_gate

PATH = "/ext_authz/v1/chat/completions"
LIMITS = OwnLimits(
    seconds_per_token=0.001, timeout_s=2.0, max_batch_tokens=256, max_queue_tokens=4096
)


def _work(n_tokens: int, *, n_texts: int = 1) -> OwnWork:
    return OwnWork(n_texts=n_texts, n_tokens=n_tokens, longest_tokens=n_tokens // n_texts)


def test_work_of_over_half_the_time_is_in_excess_and_less_is_not() -> None:
    assert excess(_work(990), LIMITS) is None
    refused = excess(_work(1010), LIMITS)
    assert isinstance(refused, InputError)
    for said in ("1010 tokens", "1.01 s", "2 s", "request.timeout_s"):
        assert said in str(refused)


def test_a_request_of_one_batch_is_never_in_excess() -> None:
    slow = OwnLimits(seconds_per_token=9, timeout_s=1, max_batch_tokens=256, max_queue_tokens=1)
    assert excess(_work(256), slow) is None
    assert excess(_work(257), slow) is not None


def test_one_text_of_over_half_the_queue_is_in_excess() -> None:
    quick = OwnLimits(seconds_per_token=0, timeout_s=1, max_batch_tokens=256, max_queue_tokens=4096)
    assert excess(_work(4090, n_texts=2), quick) is None
    assert "queue.max_queue_tokens" in str(excess(_work(4090), quick))


def test_the_most_work_bounds_the_tokens_of_texts(spotting: Gate) -> None:
    texts = ["good", "", "good " * 50, "日本"]
    exact = [question.n_tokens for question in spotting.ask(texts)]
    bound = most_work(texts)
    assert bound.n_tokens >= sum(exact)
    assert bound.longest_tokens >= max(exact)


def test_too_many_tokens_are_counted_no_further_than_needed() -> None:
    counted: list[int] = []

    def count(texts: Sequence[str]) -> int:
        counted.append(sum(map(len, texts)))
        return counted[-1]

    check_tokens(["ab", "c"], count, 3)
    with pytest.raises(InputError, match=r"has 4 tokens .* at most 3 .* request\.max_tokens"):
        check_tokens(["ab", "cd"], count, 3)
    counted.clear()
    with pytest.raises(InputError, match="at least"):
        check_tokens(["a" * 70_000] * 9, count, 100_000)
    assert sum(counted) <= 2 * 70_000
    counted.clear()
    with pytest.raises(InputError, match="at least"):
        check_tokens(["a" * 1_000_000], count, 100_000)
    assert sum(counted) <= 200_000
    # Near the limit, cuts do not decide.
    check_tokens(["a" * 100_000], count, 100_000)
    with pytest.raises(InputError, match="has 100001 tokens"):
        check_tokens(["a" * 100_001], count, 100_000)


@contextmanager
def _served(gate: Gate, settings: ServeSettings) -> Iterator[TestClient]:
    with TestClient(create_app(gate, settings), raise_server_exceptions=False) as client:
        yield client


def _chat(*texts: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text} for text in texts]}


OPEN = ServeSettings(
    fail_open=("ext_authz",), queue=QueueLimits(max_queue_requests=4, max_queue_tokens=64)
)


def test_the_number_of_its_texts_refuses_no_request(spotting: Gate) -> None:
    fillers = [f"good{' good' * i}" for i in range(12)]
    with _served(spotting, OPEN) as client:
        passed = client.post(PATH, json=_chat(*fillers))
        assert passed.status_code == 200
        assert "x-hazgate-failed-open" not in passed.headers
        assert client.post(PATH, json=_chat(*fillers, "morning")).status_code == 403
        assert client.post("/v1/check", json={"texts": fillers * 9}).status_code == 200


def test_too_many_tokens_are_refused_with_the_limit_and_never_opened(spotting: Gate) -> None:
    settings = ServeSettings(fail_open=("ext_authz",), request=RequestTable(max_tokens=100))
    with _served(spotting, settings) as client:
        assert client.post(PATH, json=_chat(*["good"] * 90)).status_code == 200
        for path, body in (
            (PATH, _chat("good " * 101)),
            (PATH, _chat(*(f"good{i} good" for i in range(51)))),
            ("/v1/check", {"text": "good " * 101}),
        ):
            refused = client.post(path, json=body)
            assert refused.status_code == 400
            for said in ("tokens", "at most 100", "request.max_tokens"):
                assert said in refused.json()["error"]["message"]


def test_a_request_too_long_for_its_time_is_not_opened_and_a_small_one_is(
    spotting: Gate,
) -> None:
    is_slow = threading.Event()

    def before(input_ids: np.ndarray) -> None:
        if is_slow.is_set():
            time.sleep(0.3)

    settings = ServeSettings(
        fail_open=("ext_authz",),
        request=RequestTable(timeout_s=0.2),
        queue=QueueLimits(max_batch_tokens=32),
    )
    with _served(watched_gate(spotting, before), settings) as client:
        is_slow.set()
        opened = client.post(PATH, json=_chat("good good"))
        refused = client.post(PATH, json=_chat("good " * 300))
        is_slow.clear()
    assert opened.status_code == 200
    assert opened.headers["x-hazgate-failed-open"] == "DeadlineExceeded"
    assert refused.status_code == 400
    assert "request.timeout_s" in refused.json()["error"]["message"]


def _fails_on_long(input_ids: np.ndarray) -> None:
    if input_ids.shape[1] == 5:
        raise InferenceError("the model failed")


def test_a_text_known_to_be_unsafe_blocks_whatever_became_of_the_others(spotting: Gate) -> None:
    gate = watched_gate(spotting, _fails_on_long)
    with _served(gate, ServeSettings(fail_open=("ext_authz",))) as client:
        for texts in (("morning", "good good good"), ("good good good", "good", "morning")):
            blocked = client.post(PATH, json=_chat(*texts))
            assert blocked.status_code == 403
            assert "x-hazgate-failed-open" not in blocked.headers


def test_a_text_on_which_alone_the_engine_fails_is_not_opened(spotting: Gate) -> None:
    gate = watched_gate(spotting, _fails_on_long)
    with _served(gate, ServeSettings(fail_open=("ext_authz",))) as client:
        assert client.post(PATH, json=_chat("good good good")).status_code == 500
        assert client.post(PATH, json=_chat("good good")).status_code == 200
