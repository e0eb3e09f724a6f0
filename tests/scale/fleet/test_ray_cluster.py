"""The application on nodes that die, under callers who go on asking."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from websockets.sync.client import connect

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from tests.support.damage import edit_manifest
from tests.support.ray_nodes import Cluster, cluster, is_running
from tests.support.steady_load import Load, asking

pytestmark = pytest.mark.slow

# Of each length and each verdict one: an answer that belongs to another text is seen to be wrong.
TEXTS = [
    " ".join(["good"] * n_words + end)
    for n_words in range(1, 30)
    for end in ([], ["morning"], ["world"])
]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, for Ray's sockets lie below it."""
    with tempfile.TemporaryDirectory(prefix="hz", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def fleet(folder: Path) -> Iterator[Cluster]:
    """A head, and a node with room for two replicas and one that takes another's place."""
    with cluster(folder) as running:
        running.add_node(3)
        yield running


@pytest.fixture(scope="module")
def bundles(spotter: Path, folder: Path) -> tuple[Path, Path]:
    """Two that answer alike and are not the same."""
    first = Path(shutil.copytree(spotter, folder / "first" / "bundle"))
    second = Path(shutil.copytree(spotter, folder / "second" / "bundle"))
    edit_manifest(second, lambda data: data.update(name="second"))
    return first, second


def deploy(
    fleet: Cluster, bundle: Path, *, path: str = "hazgate_scale.fleet.ray_serve", **args: object
) -> None:
    """Deploys, and does not wait."""
    folder = bundle.parent
    (folder / "serve.toml").write_text("[engine]\nthreads = 1\n", encoding="utf-8")
    config = {
        # All nodes are this host, which has each port once.
        "proxy_location": "HeadOnly",
        "http_options": {
            "host": "127.0.0.1",
            "port": httpx.URL(fleet.url).port,
            "request_timeout_s": 10,
        },
        "applications": [
            {
                "name": "hazgate",
                "import_path": f"{path}:app",
                "args": {
                    "bundle": str(bundle),
                    "settings": str(folder / "serve.toml"),
                    "autoscaling": {"min_replicas": 2, "max_replicas": 2},
                    **args,
                },
            }
        ],
    }
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    fleet.deploy(file)


def check_answers(load: Load, *bundles: Path) -> set[str]:
    """Every answer is the gate's own, and whatever is none says so; returns the digests seen."""
    gates = [Gate.open(bundle, engine=EngineOptions(threads=1)) for bundle in bundles]
    expected = {
        gate.model.digest: {
            text: json.loads(json.dumps(verdict.to_dict()))
            for text, verdict in zip(TEXTS, gate.check_many(TEXTS), strict=True)
        }
        for gate in gates
    }
    assert len(load.outcomes) == load.n_asked
    seen = set()
    for outcome in load.outcomes:
        if outcome.status == 200:
            digest = outcome.answer["model"]["digest"]
            seen.add(digest)
            assert outcome.answer == expected[digest][outcome.text]
        else:
            assert "flagged" not in (outcome.answer or "")
    return seen


def test_every_dialect_answers_as_the_server_of_one_process_does(
    fleet: Cluster, bundles: tuple[Path, Path]
) -> None:
    deploy(fleet, bundles[0])
    fleet.wait_until(is_running)
    with openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="any", max_retries=0) as client:
        calm, alarm = client.moderations.create(input=["good", "good morning"]).results
    assert (calm.flagged, alarm.flagged) == (False, True)
    name = Gate.open(bundles[0], engine=EngineOptions(threads=1)).model.bundle
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["good", "world"]}
    answer = httpx.post(f"{fleet.url}/v2/models/{name}/infer", json={"inputs": [tensor]}).json()
    assert {each["name"]: each["data"] for each in answer["outputs"]}["flagged"] == [False, True]
    with connect(fleet.url.replace("http", "ws") + "/v1/watch") as watching:
        watching.send(json.dumps({"text": "good morning"}))
        watching.send(json.dumps({"end": True}))
        assert any(json.loads(message)["unsafe"] for message in watching)


def test_a_new_bundle_rolls_out_without_a_failed_request(
    fleet: Cluster, bundles: tuple[Path, Path]
) -> None:
    old, new = bundles
    deploy(fleet, old)
    fleet.wait_until(is_running)
    digest = Gate.open(new, engine=EngineOptions(threads=1)).model.digest
    with asking(fleet.url, TEXTS) as load:
        load.wait_for(100)
        deploy(fleet, new, bundle_digest=digest)
        fleet.wait_until(lambda status: not is_running(status))
        fleet.wait_until(is_running)
        last = load.wait_for(100)
    assert set(load.statuses()) == {200}
    assert len(check_answers(load, old, new)) == 2
    # The first of these may have been asked before.
    assert {outcome.answer["model"]["digest"] for outcome in last[-50:]} == {digest}


def test_a_bundle_that_is_not_the_one_named_rolls_out_nowhere_and_what_serves_goes_on(
    fleet: Cluster, bundles: tuple[Path, Path]
) -> None:
    old, new = bundles
    deploy(fleet, old)
    fleet.wait_until(is_running)
    with asking(fleet.url, TEXTS) as load:
        deploy(fleet, new, bundle_digest="0" * 64)
        fleet.wait_until(lambda status: "is another bundle" in json.dumps(status))
        load.wait_for(100)
    assert set(load.statuses()) == {200}
    assert check_answers(load, old, new) == {
        Gate.open(old, engine=EngineOptions(threads=1)).model.digest
    }


def test_a_replica_whose_engine_fails_is_replaced(
    fleet: Cluster, bundles: tuple[Path, Path]
) -> None:
    bundle, _ = bundles
    fault = bundle.parent / "fault"
    deploy(fleet, bundle, path="tests.support.faulty_fleet")
    fleet.wait_until(is_running)
    failing = fleet.replicas()[0]["pid"]
    with asking(fleet.url, TEXTS) as load:
        fault.write_text(str(failing), encoding="utf-8")

        def replaced(status: Mapping[str, Any]) -> bool:
            pids = {each["pid"] for each in fleet.replicas() if each["state"] == "RUNNING"}
            return is_running(status) and len(pids) == 2 and failing not in pids

        fleet.wait_until(replaced)
        load.wait_until_answered(50)
    fault.unlink()
    check_answers(load, bundle)
    # Until then, what the broken engine was asked came back as such.
    assert set(load.statuses()) == {200, 500}


def test_tokens_that_wait_start_replicas_and_quiet_ends_them(
    fleet: Cluster, bundles: tuple[Path, Path]
) -> None:
    def has(n_replicas: int) -> Callable[[Mapping[str, Any]], bool]:
        return lambda _: [each["state"] for each in fleet.replicas()] == ["RUNNING"] * n_replicas

    scaling = {"max_replicas": 2, "target_tokens": 1, "look_back_s": 10.5}
    deploy(
        fleet,
        bundles[0],
        autoscaling={**scaling, "upscale_delay_s": 0.0, "downscale_delay_s": 0.0},
    )
    fleet.wait_until(is_running)
    fleet.wait_until(has(1))
    with asking(fleet.url, TEXTS) as load:
        fleet.wait_until(has(2))
    fleet.wait_until(has(1))
    assert set(load.statuses()) == {200}


def test_a_node_that_dies_under_load_costs_no_wrong_answer_and_its_replica_comes_back(
    bundles: tuple[Path, Path],
) -> None:
    bundle, _ = bundles
    with tempfile.TemporaryDirectory(prefix="hz", dir="/tmp") as own, cluster(Path(own)) as fleet:
        dying = fleet.add_node(1)
        fleet.add_node(1)
        deploy(fleet, bundle)
        fleet.wait_until(is_running)
        assert len({each["node_id"] for each in fleet.replicas()}) == 2
        with asking(fleet.url, TEXTS) as load:
            load.wait_for(100)
            dying.kill()
            fleet.wait_until(lambda status: not is_running(status) or len(fleet.replicas()) < 2)
            # One is left, and does what it can.
            load.wait_until_answered(50)
            fleet.add_node(1)
            fleet.wait_until(
                lambda status: (
                    is_running(status) and len({each["node_id"] for each in fleet.replicas()}) == 2
                )
            )
            load.wait_until_answered(100)
        check_answers(load, bundle)
        # What the node took with it is told as lost.
        assert set(load.statuses()) <= {200, 500, 503}
