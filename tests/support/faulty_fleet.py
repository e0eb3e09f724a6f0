"""The application of Ray Serve, whose engine fails in the process that a file names."""

import dataclasses
import os
from pathlib import Path
from typing import Any, cast

from ray import serve

from hazgate.errors import InferenceError
from hazgate.fleet import ray_serve
from hazgate.serving.settings import ServeSettings
from hazgate.session import Session


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _FaultySession:
    session: Session
    fault: Path

    def run(self, input_ids: Any, attention_mask: Any) -> Any:  # noqa: ANN401
        if self.fault.exists() and self.fault.read_text() == str(os.getpid()):
            raise InferenceError("broken as asked")
        return self.session.run(input_ids, attention_mask)


class FaultyReplica(ray_serve.GateReplica):
    """Fails while the file `fault` beside the bundle names its process."""

    def __init__(self, bundle: Path, digest: str | None, settings: ServeSettings) -> None:
        super().__init__(bundle, digest, settings)
        batcher = self._served.service.gate.batcher
        level = batcher.gate.gate
        session = _FaultySession(session=level.session, fault=bundle.parent / "fault")
        faulty = dataclasses.replace(level, session=cast("Session", session))
        batcher.swap(dataclasses.replace(batcher.gate, gate=faulty))


def app(args: dict[str, Any]) -> serve.Application:
    """As hazgate.fleet.ray_serve:app, of such replicas."""
    deployment = ray_serve.app(args)._bound_deployment
    return deployment.options(func_or_class=serve.ingress()(FaultyReplica)).bind(
        *deployment.init_args
    )
