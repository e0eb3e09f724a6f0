"""The shipped manifests fit the models of KServe's SDK and Kubernetes' schemas."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hazgate.serving.settings import ServeSettings
from tests.support.environments import environment

DEPLOY = Path(__file__).parents[3] / "runtime" / "deploy"


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kserve.yaml").read_text(encoding="utf-8")))


def merged(document: Any, patch: Any) -> Any:  # noqa: ANN401 - any YAML value
    """RFC 7386, as `kubectl patch --type merge` does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def by_queue() -> dict[str, Any]:
    patch = yaml.safe_load((DEPLOY / "kserve-by-queue.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = merged(manifests()[-1], patch)
    return found


def problems(documents: list[dict[str, Any]]) -> list[list[str]]:
    python = environment("kserve==0.21.0", "kubernetes-validate==1.37.0") / "python"
    done = subprocess.run(
        [python, Path(__file__).parent / "kserve_schema.py"],
        input=json.dumps(documents).encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: list[list[str]] = json.loads(done.stdout)
    return found


def test_the_settings_in_the_manifest_are_settings_and_listen_where_the_pod_says(
    tmp_path: Path,
) -> None:
    settings, _, service = manifests()
    file = tmp_path / "serve.toml"
    file.write_text(settings["data"]["serve.toml"], encoding="utf-8")
    loaded = ServeSettings.load(file)
    predictor = service["spec"]["predictor"]
    (container,) = predictor["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http1": loaded.port, "h2c": loaded.grpc_port}
    assert {
        container[f"{kind}Probe"]["httpGet"]["port"]
        for kind in ("startup", "readiness", "liveness")
    } == {loaded.port}
    assert str(loaded.engine.threads) == container["resources"]["requests"]["cpu"]
    assert predictor["terminationGracePeriodSeconds"] > loaded.drain_timeout_s


def test_probes_ask_for_the_model_that_is_served() -> None:
    (container,) = manifests()[-1]["spec"]["predictor"]["containers"]
    name = container["args"][container["args"].index("--model-name") + 1]
    for kind in ("startup", "readiness"):
        assert container[f"{kind}Probe"]["httpGet"]["path"] == f"/v2/models/{name}/ready"


@pytest.mark.slow
def test_the_manifests_have_no_field_that_kserve_or_kubernetes_does_not_know() -> None:
    assert problems([*manifests(), by_queue()]) == [[], [], [], []]


@pytest.mark.slow
def test_the_manifest_without_kserve_has_no_field_that_kubernetes_does_not_know() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
    kinds = [each["kind"] for each in documents]
    assert kinds == ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"]
    documents.append(copy.deepcopy(documents[0]))
    documents[-1]["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    *found, (of_copy,) = problems(documents)
    assert found == [[], [], [], []]
    assert "livenesProbe" in of_copy


@pytest.mark.slow
def test_a_field_that_is_misspelt_missing_or_of_another_type_is_found() -> None:
    _, budget, service = manifests()
    budget["spec"]["maxUnavailabl"] = 1
    wrong = copy.deepcopy(service)
    predictor = wrong["spec"]["predictor"]
    predictor["minReplica"] = 1
    predictor["maxReplicas"] = "10"
    predictor["deploymentStrategy"]["rollingUpdate"]["maxSurg"] = 1
    del predictor["containers"][0]["name"]
    queue = by_queue()
    queue["spec"]["predictor"]["autoScaling"]["metrics"][0]["external"]["metric"]["qery"] = "up"
    (of_budget,), of_service, (of_queue,) = problems([budget, wrong, queue])
    assert "maxUnavailabl" in of_budget
    assert "qery" in of_queue
    named = "\n".join(of_service)
    for field in ("minReplica:", "maxReplicas: expected int", "maxSurg:", "name"):
        assert field in named
