"""The application and its replica, without a cluster."""

import asyncio
import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema
from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.engine.options import EngineOptions
from hazgate.errors import BundleError, InferenceError
from hazgate.serving.queue.backlog import QueueLimits
from hazgate.serving.settings import EngineTable, ServeSettings
from hazgate_scale.fleet.autoscaling import TOKENS
from hazgate_scale.fleet.ray_serve import GateReplica, app
from tests.support.sessions import failing_gate, watched_gate

DEPLOY = Path(__file__).parents[3] / "runtime" / "deploy"
SETTINGS = ServeSettings(engine=EngineTable(threads=1))


def _break(replica: GateReplica) -> Gate:
    """Break the replica's engine; return the gate that worked."""
    engine = replica._served.service.engine
    working = engine.gate
    engine.swap(failing_gate(working, lambda n_tokens: True))
    return working


def test_placement_and_limits_follow_from_the_settings(tmp_path: Path, spotter: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text(
        "drain_timeout_s = 7.0\n[engine]\nthreads = 2\nworkers = 3\n"
        "[queue]\nmax_queue_requests = 50\nmax_batch_tokens = 128\n",
        encoding="utf-8",
    )
    args = {"bundle": str(spotter), "settings": str(file), "autoscaling": {"max_replicas": 4}}
    deployment = app(args)._bound_deployment
    config = deployment._deployment_config
    scaling = config.autoscaling_config
    assert scaling is not None
    assert deployment.ray_actor_options == {"num_cpus": 6}
    # Whatever the engine may hold reaches the batcher, which refuses by its own limits.
    assert config.max_ongoing_requests == 50 + 128
    assert config.graceful_shutdown_timeout_s > 7
    assert config.max_surge_percent > 0
    assert scaling.policy.policy_kwargs == {"target_tokens": 128}
    assert (scaling.min_replicas, scaling.max_replicas) == (
        1,
        4,
    )


def test_the_files_that_are_shipped_build_an_application(tmp_path: Path) -> None:
    config = yaml.safe_load((DEPLOY / "ray-serve.yaml").read_text(encoding="utf-8"))
    (application,) = ServeDeploySchema.model_validate(config).applications
    assert application.import_path == f"{app.__module__}:{app.__qualname__}"
    args = {**application.args, "settings": str(DEPLOY / "ray-serve.toml")}
    assert app(args)._bound_deployment.ray_actor_options == {"num_cpus": 1}


def test_a_node_with_another_bundle_says_which_it_holds_and_opens_nothing(spotter: Path) -> None:
    held = Gate.open(spotter, engine=EngineOptions(threads=1)).model.digest
    with pytest.raises(BundleError, match=held):
        GateReplica(spotter, "0" * 64, SETTINGS)
    GateReplica(spotter, held, SETTINGS)


def test_a_replica_is_healthy_once_warm_and_as_long_as_its_engine_answers(spotter: Path) -> None:
    replica = GateReplica(spotter, None, SETTINGS)
    with pytest.raises(InferenceError, match="not ready"):
        asyncio.run(replica.check_health())
    with TestClient(cast("Any", replica.__serve_build_asgi_app__())) as client:
        asyncio.run(replica.check_health())
        working = _break(replica)
        # Nobody has asked anything: the health check itself finds out, and readiness shows it.
        with pytest.raises(InferenceError, match="the model failed"):
            asyncio.run(replica.check_health())
        assert client.get("/health/ready").status_code == 503
        replica._served.service.engine.swap(working)
        asyncio.run(replica.check_health())
        assert client.get("/health/ready").status_code == 200


def test_a_text_on_which_the_model_fails_costs_no_replica(spotter: Path) -> None:
    replica = GateReplica(spotter, None, SETTINGS)
    engine = replica._served.service.engine
    with TestClient(cast("Any", replica.__serve_build_asgi_app__())) as client:
        engine.swap(failing_gate(engine.gate, lambda n_tokens: n_tokens == 5))
        assert client.post("/v1/check", json={"text": "good good good"}).status_code == 500
        asyncio.run(replica.check_health())
        assert client.get("/health/ready").status_code == 200


def test_an_answer_that_is_kept_does_not_hide_a_broken_engine(spotter: Path) -> None:
    settings = dataclasses.replace(
        SETTINGS, engine=dataclasses.replace(SETTINGS.engine, cache_entries=100)
    )
    replica = GateReplica(spotter, None, settings)
    with TestClient(cast("Any", replica.__serve_build_asgi_app__())) as client:
        assert client.post("/v1/check", json={"text": "hello"}).status_code == 200
        _break(replica)
        with pytest.raises(InferenceError):
            asyncio.run(replica.check_health())


def test_a_replica_reports_the_tokens_that_wait_or_run(spotter: Path) -> None:
    settings = dataclasses.replace(SETTINGS, queue=QueueLimits(max_batch_tokens=1))
    replica = GateReplica(spotter, None, settings)
    engine = replica._served.service.engine
    assert replica.record_autoscaling_stats() == {TOKENS: 0.0}
    seen: list[float] = []
    engine.swap(
        watched_gate(engine.gate, lambda _: seen.append(replica.record_autoscaling_stats()[TOKENS]))
    )
    engine.check("good " * 10)
    # Two windows of eight tokens, while they run.
    assert seen == [16.0]
    engine.close()
    assert replica.record_autoscaling_stats() == {TOKENS: 0.0}
