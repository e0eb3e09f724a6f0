"""The application of Ray Serve, whose engine fails in the process that a file names."""

from pathlib import Path
from typing import Any

from ray import serve

from hazgate.serving.settings import ServeSettings
from hazgate_scale.fleet import ray_serve
from tests.support.faulty import faulty


class FaultyReplica(ray_serve.GateReplica):
    """A replica that fails while the file `fault` next to the bundle names its process."""

    def __init__(self, bundle: Path, digest: str | None, settings: ServeSettings) -> None:
        super().__init__(bundle, digest, settings)
        engine = self._served.service.engine
        engine.swap(faulty(engine.gate, bundle.parent / "fault"))


def app(args: dict[str, Any]) -> serve.Application:
    """Return hazgate_scale.fleet.ray_serve:app with such replicas."""
    deployment = ray_serve.app(args)._bound_deployment
    return deployment.options(func_or_class=serve.ingress()(FaultyReplica)).bind(
        *deployment.init_args
    )
