"""The deployment files fit the server."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from hazgate.serving.metrics import Metrics
from hazgate.serving.settings import ServeSettings

DEPLOY = Path(__file__).parents[2] / "runtime" / "deploy"


def _deployment() -> dict[str, Any]:
    found = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    (deployment,) = (each for each in found if each["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def test_probes_use_the_servers_health_endpoints() -> None:
    (container,) = _deployment()["containers"]
    paths = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness")}
    assert paths == {"/health/ready"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["ports"][0]["containerPort"] == ServeSettings().port


def test_supervisors_wait_for_the_server_to_drain() -> None:
    drain_s = ServeSettings().drain_timeout_s
    assert _deployment()["terminationGracePeriodSeconds"] > drain_s
    unit = (DEPLOY / "hazgate.service").read_text(encoding="utf-8")
    (stop,) = (line for line in unit.splitlines() if line.startswith("TimeoutStopSec="))
    assert int(stop.partition("=")[2]) > drain_s


def _images() -> list[Path]:
    images = sorted(DEPLOY.glob("Dockerfile*"))
    assert "Dockerfile.kserve" in {image.name for image in images}
    return images


def test_no_image_runs_as_root_and_every_base_can_be_pinned() -> None:
    for image in _images():
        lines = image.read_text(encoding="utf-8").splitlines()
        users = [line for line in lines if line.startswith("USER ")]
        assert users == ["USER 65534:65534"], image.name
        assert lines.index(users[-1]) > max(
            i for i, line in enumerate(lines) if line.startswith("FROM ")
        )
        bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
        assert all(base.startswith("${") for base in bases), image.name


def test_images_install_what_is_locked() -> None:
    for image in _images():
        text = image.read_text(encoding="utf-8")
        # KServe's SDK needs older releases, as its file says.
        assert ("-c /" in text) is (image.name != "Dockerfile.kserve"), image.name


def test_the_unit_confines_the_server_and_hides_nothing_that_it_reads() -> None:
    unit = (DEPLOY / "hazgate.service").read_text(encoding="utf-8").splitlines()
    for line in (
        *("DynamicUser=yes", "CapabilityBoundingSet=", "NoNewPrivileges=yes"),
        *("ProtectSystem=strict", "PrivateDevices=yes", "MemoryDenyWriteExecute=yes"),
        *("SystemCallFilter=@system-service", "RestrictNamespaces=yes"),
    ):
        assert line in unit
    # /proc/cpuinfo says which variant runs best here.
    assert "ProcSubset=pid" not in unit
    limits = dict(line.split("=", 1) for line in unit if "=" in line and not line.startswith("#"))
    assert limits["MemoryMax"]
    # Otherwise the server would not start; see hazgate.serving.launch.
    assert int(limits["LimitNOFILE"]) >= 2 * ServeSettings().max_connections + 512


def test_the_cluster_gives_the_pod_no_more_than_it_needs() -> None:
    found = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
    by_kind = {each["kind"]: each for each in found}
    app = {"app": "hazgate"}
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == app
    policy = by_kind["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == app
    assert "egress" not in policy
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    pod = by_kind["Deployment"]["spec"]["template"]
    assert pod["metadata"]["labels"] == app
    assert pod["spec"]["automountServiceAccountToken"] is False
    (container,) = pod["spec"]["containers"]
    assert not container["image"].endswith(":latest")


def test_signals_reach_the_server_in_the_image() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    (entry,) = (line for line in dockerfile.splitlines() if line.startswith("ENTRYPOINT"))
    assert entry.startswith('ENTRYPOINT ["/opt/hazgate/bin/hazgate", "serve"')


def test_the_dashboard_and_the_servers_metrics_agree() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"hazgate_\w+", target["expr"])
    }
    families = text_string_to_metric_families(Metrics().text().decode())
    known = {
        family.name: family.type for family in families if not family.name.endswith("_created")
    }
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    samples = {name + suffix for name, kind in known.items() for suffix in suffixes[kind]}
    assert asked
    assert asked <= samples
    # Every metric is on a panel.
    unseen = {name for name in known if not any(each.startswith(name) for each in asked)}
    assert unseen <= {"hazgate_batch_seconds"}
