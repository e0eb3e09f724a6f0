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
