"""`hazgate_scale.fleet.ray_serve:app`: replicas of the HTTP server as an application of Ray Serve.

Every replica is one process of `hazgate serve`: a gate, its batcher, all dialects. Ray Serve
places, scales, watches and replaces replicas. Source: https://docs.ray.io/en/latest/serve/.
"""

from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig
from starlette.types import ASGIApp

from hazgate.errors import InferenceError
from hazgate.serving.failures import RETRY_AFTER_S
from hazgate.serving.http.app import create_served
from hazgate.serving.key_file import read_key_file
from hazgate.serving.settings import ServeSettings
from hazgate.serving.source import check_tenants
from hazgate_scale.fleet.arguments import Arguments, Autoscaling, replica_settings
from hazgate_scale.fleet.autoscaling import TOKENS, TokenLoad
from hazgate_scale.fleet.opening import open_named

NAME = "gate"
_HEALTH_PERIOD_S = 5.0
_HEALTH_TIMEOUT_S = 30.0
# Time in addition to the drain: the controller's poll and the engine's last batch.
_SHUTDOWN_S = 10.0
_DRAIN_POLL_S = 0.5
# A new replica is ready before an old one ends.
_SURGE_PERCENT = 25


class GateReplica:
    """One replica. Ray Serve calls its methods by these names."""

    def __init__(self, bundle: Path, digest: str | None, settings: ServeSettings) -> None:
        """Open the bundle on the replica's node.

        Raises:
            BundleError: this node does not hold that bundle, or the bundle, policy or keys cannot
                be served.
        """
        keys = read_key_file(Path(settings.api_keys_file)) if settings.api_keys_file else ()
        judge = open_named(bundle, digest, settings)
        check_tenants(judge, keys)
        self._served = create_served(judge, settings, keys)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the HTTP application; its lifespan warms and drains the engine."""
        return self._served.app

    async def check_health(self) -> None:
        """Prove that the engine answers; a replica is replaced after three failures.

        Raises:
            InferenceError: the engine does not answer.
        """
        service = self._served.service
        await service.prove()
        if not await service.ready():
            raise InferenceError(f"not ready: {service.health}, live {service.live}")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Report the metric of hazgate_scale.fleet.autoscaling."""
        return {TOKENS: float(self._served.service.engine.n_tokens)}


def app(args: dict[str, Any]) -> serve.Application:
    """Build the application from `args` of a Ray Serve configuration; see Arguments.

    Raises:
        BundleError: arguments or settings are wrong; names every problem.
    """
    arguments = Arguments.parse(args)
    settings = replica_settings(arguments)
    engine, queue = settings.engine, settings.queue
    assert engine.threads is not None
    as_deployment = serve.deployment(
        name=NAME,
        ray_actor_options={"num_cpus": engine.threads * engine.workers},
        # The batcher knows callers and tokens, so it refuses requests, not Ray Serve.
        max_ongoing_requests=queue.max_queue_requests + queue.max_batch_tokens,
        max_queued_requests=queue.max_queue_requests,
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER_S),
        autoscaling_config=_autoscaling(arguments.autoscaling, queue.max_batch_tokens),
        health_check_period_s=_HEALTH_PERIOD_S,
        health_check_timeout_s=_HEALTH_TIMEOUT_S,
        graceful_shutdown_wait_loop_s=_DRAIN_POLL_S,
        graceful_shutdown_timeout_s=settings.drain_timeout_s + _SHUTDOWN_S,
        max_surge_percent=_SURGE_PERCENT,
    )
    deployment = as_deployment(serve.ingress()(GateReplica))
    return deployment.bind(Path(arguments.bundle), arguments.bundle_digest, settings)


def _autoscaling(wanted: Autoscaling, max_batch_tokens: int) -> AutoscalingConfig:
    return AutoscalingConfig(
        min_replicas=wanted.min_replicas,
        max_replicas=wanted.max_replicas,
        look_back_period_s=wanted.look_back_s,
        upscale_delay_s=wanted.upscale_delay_s,
        downscale_delay_s=wanted.downscale_delay_s,
        policy=AutoscalingPolicy(
            policy_function=f"{TokenLoad.__module__}:{TokenLoad.__qualname__}",
            policy_kwargs={"target_tokens": wanted.target_tokens or max_batch_tokens},
        ),
    )
