"""Every dialect answers the gate's verdict in its own form."""

import json
import struct

import numpy as np
import pytest
from starlette.testclient import TestClient

from hazgate import Gate
from tests.support.spotter import MORNING_HAZARD
from tests.support.tiny import HAZARDS


def test_moderations_have_all_thirteen_categories_in_all_three_maps(
    client: TestClient, spotting: Gate
) -> None:
    answer = client.post("/v1/moderations", json={"input": ["good", "morning"]}).json()
    calm, alarm = answer["results"]
    assert (calm["flagged"], alarm["flagged"]) == (False, True)
    for result in (calm, alarm):
        names = [set(result[key]) for key in ("categories", "category_scores")]
        assert names[0] == names[1] == set(result["category_applied_input_types"])
        assert len(names[0] & {"illicit", "illicit/violent", "violence", "hate"}) == 4
        assert len([name for name in names[0] if name not in HAZARDS]) == 13
    assert not any(calm["categories"].values())
    assert alarm["categories"][HAZARDS[MORNING_HAZARD]] is True
    assert spotting.model.bundle in answer["model"]


def test_moderations_accept_text_parts_and_refuse_images(client: TestClient) -> None:
    parts = [{"type": "text", "text": "good"}, {"type": "text", "text": "morning"}]
    (result,) = client.post("/v1/moderations", json={"input": parts}).json()["results"]
    assert result["flagged"] is True
    image = [{"type": "image_url", "image_url": {"url": "http://x"}}]
    assert client.post("/v1/moderations", json={"input": image}).status_code == 400


def test_http_classify_is_a_bare_array_whose_scores_sum_to_one(
    client: TestClient, spotting: Gate
) -> None:
    answer = client.post("/classify", json={"inputs": "good morning"}).json()
    assert [item["label"] for item in answer] == ["safe", "unsafe"]
    assert sum(item["score"] for item in answer) == pytest.approx(1)
    assert answer[1]["score"] == spotting.check("good morning").unsafe


def test_vllms_classify_has_probabilities_in_the_order_of_the_labels(client: TestClient) -> None:
    answer = client.post("/v1/classify", json={"input": ["good", "morning"]}).json()
    assert [item["label"] for item in answer["data"]] == ["safe", "unsafe"]
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert all(item["num_classes"] == len(item["probs"]) == 2 for item in answer["data"])
    assert answer["usage"]["prompt_tokens"] == 2


@pytest.mark.parametrize("body", [{}, {"inputs": "a", "input": "b"}])
def test_classify_refuses_a_body_of_no_or_two_dialects(
    client: TestClient, body: dict[str, str]
) -> None:
    answer = client.post("/classify", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_tei_scores_descend_and_a_pair_is_refused(client: TestClient) -> None:
    (first, second) = client.post("/predict", json={"inputs": "morning"}).json()
    assert (first["label"], second["label"]) == ("unsafe", "safe")
    assert first["score"] >= second["score"]
    batch = client.post("/predict", json={"inputs": [["good"], ["morning"]]}).json()
    assert [item[0]["label"] for item in batch] == ["safe", "unsafe"]
    for wrong in (
        {"inputs": ["a", "b"]},
        {"inputs": [["a", "b"]]},
        {"inputs": "a", "raw_scores": True},
        {"inputs": "a", "truncate": True},
    ):
        answer = client.post("/predict", json=wrong)
        assert answer.status_code == 422
        assert answer.json()["error_type"] == "validation"


def test_kserve_names_its_tensors_and_infers(client: TestClient, spotting: Gate) -> None:
    name = spotting.model.bundle
    assert client.get(f"/v2/models/{name}").json()["inputs"][0]["datatype"] == "BYTES"
    assert client.get(f"/v2/models/{name}/ready").json() == {"name": name, "ready": True}
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["good", "morning"]}
    answer = client.post(
        f"/v2/models/{name}/infer",
        json={"id": "42", "inputs": [tensor], "outputs": [{"name": "flagged"}]},
    ).json()
    assert answer == {
        "model_name": name,
        "id": "42",
        "outputs": [{"name": "flagged", "shape": [2], "datatype": "BOOL", "data": [False, True]}],
    }
    assert client.get("/v2/models/other").status_code == 404
    wrong = {**tensor, "shape": [3]}
    answer = client.post(f"/v2/models/{name}/infer", json={"inputs": [wrong]})
    assert answer.status_code == 400
    assert "does not hold 2 elements" in answer.json()["error"]


def test_kserve_reads_and_writes_binary_tensors(client: TestClient, spotting: Gate) -> None:
    texts = [b"good", b"good morning"]
    raw = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    tensor = {
        "name": "text",
        "datatype": "BYTES",
        "shape": [2],
        "parameters": {"binary_data_size": len(raw)},
    }
    request = {
        "inputs": [tensor],
        "outputs": [
            {"name": "unsafe", "parameters": {"binary_data": True}},
            {"name": "flagged", "parameters": {"binary_data": False}},
        ],
    }
    head = json.dumps(request).encode()
    url, length = f"/v2/models/{spotting.model.bundle}/infer", "inference-header-content-length"
    answer = client.post(url, content=head + raw, headers={length: str(len(head))})
    n_head = int(answer.headers[length])
    unsafe, flagged = json.loads(answer.content[:n_head])["outputs"]
    assert unsafe["parameters"] == {"binary_data_size": 8}
    expected = [spotting.check(text.decode()).unsafe for text in texts]
    assert (
        np.frombuffer(answer.content[n_head:], "<f4").tolist()
        == np.asarray(expected, np.float32).tolist()
    )
    assert flagged["data"] == [False, True]
    for wrong in ("x", str(len(head) + len(raw) + 1), "3"):
        answer = client.post(url, content=head + raw, headers={length: wrong})
        assert answer.status_code == 400
        assert isinstance(answer.json()["error"], str)
    short = client.post(url, content=head + raw[:-1], headers={length: str(len(head))})
    assert short.status_code == 400
