"""Arguments of the Ray Serve application, read strictly, with every problem at once."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hazgate.bundle.hub import is_hub_reference
from hazgate.documents.decode import decode
from hazgate.documents.problems import list_problems
from hazgate.errors import BundleError
from hazgate.serving.settings import ServeSettings

# Ray Serve's default.
REPORT_INTERVAL_S = 10.0
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Autoscaling:
    """Bounds and target of the number of replicas.

    Attributes:
        min_replicas: fewest replicas, at least one: a sleeping gate answers nobody in time.
        max_replicas: most replicas.
        target_tokens: mean tokens waiting or running in a replica over `look_back_s`; None is one
            batch of the engine. More tokens start replicas, fewer end them.
        look_back_s: time over which the mean is taken.
        upscale_delay_s: time that more replicas must be wanted before they start.
        downscale_delay_s: time that fewer replicas must be wanted before they end.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    target_tokens: int | None = None
    look_back_s: float = 30.0
    upscale_delay_s: float = 10.0
    downscale_delay_s: float = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """The application's `args`.

    Paths are absolute and the same on every node; `bundle` may be hub:owner/name@commit.
    `settings` is a settings file of `hazgate serve`; `policy` overrides its policy.
    `bundle_digest` is the digest that `hazgate info` shows; a node with another bundle serves
    nothing.
    """

    bundle: str
    bundle_digest: str | None = None
    settings: str | None = None
    policy: str | None = None
    autoscaling: Autoscaling = field(default_factory=Autoscaling)

    @classmethod
    def parse(cls, args: Mapping[str, Any]) -> "Arguments":
        """Parse the arguments of a configuration file.

        Raises:
            BundleError: arguments are wrong; names every problem.
        """
        problems: list[str] = []
        arguments = decode(cls, args, problems, "args")
        if arguments is not None:
            problems += _contradictions(arguments)
        if arguments is None or problems:
            raise BundleError(
                "the application's arguments are not valid:" + list_problems(problems)
            )
        return arguments


def replica_settings(arguments: Arguments) -> ServeSettings:
    """Load the settings of each replica.

    Raises:
        BundleError: the file is not valid, or has settings that a replica cannot choose.
    """
    file = arguments.settings
    settings = ServeSettings() if file is None else ServeSettings.load(Path(file))
    problems = list(_misplaced(settings))
    if problems:
        raise BundleError(f"{file or 'no settings'}: not for a replica:{list_problems(problems)}")
    if arguments.policy is None:
        return settings
    policy = replace(settings.policy, file=arguments.policy)
    return replace(settings, policy=policy)


def _contradictions(arguments: Arguments) -> Iterator[str]:
    paths = {name: getattr(arguments, name) for name in ("bundle", "settings", "policy")}
    if is_hub_reference(arguments.bundle):
        del paths["bundle"]
    for name, path in paths.items():
        if path is not None and not Path(path).is_absolute():
            yield f"args.{name}: must be an absolute path, the same on every node"
    digest = arguments.bundle_digest
    if digest is not None and not _DIGEST.fullmatch(digest):
        yield "args.bundle_digest: expected 64 hexadecimal digits, as `hazgate info` shows them"
    scaling = arguments.autoscaling
    if scaling.min_replicas < 1:
        yield f"args.autoscaling.min_replicas: must be at least 1, got {scaling.min_replicas}"
    if scaling.max_replicas < scaling.min_replicas:
        yield (
            f"args.autoscaling.max_replicas: must be at least min_replicas, "
            f"{scaling.min_replicas}, got {scaling.max_replicas}"
        )
    if scaling.target_tokens is not None and scaling.target_tokens < 1:
        yield f"args.autoscaling.target_tokens: must be at least 1, got {scaling.target_tokens}"
    # Written so that NaN is refused.
    if not scaling.look_back_s > REPORT_INTERVAL_S:
        yield (
            f"args.autoscaling.look_back_s: must be more than the {REPORT_INTERVAL_S:g} between "
            f"two reports of a replica, got {scaling.look_back_s}"
        )
    for name in ("upscale_delay_s", "downscale_delay_s"):
        if not getattr(scaling, name) >= 0:
            yield f"args.autoscaling.{name}: must not be negative, got {getattr(scaling, name)}"


def _misplaced(settings: ServeSettings) -> Iterator[str]:
    default = ServeSettings()
    if (settings.host, settings.port) != (default.host, default.port):
        yield "$.host, $.port: Ray Serve listens, see its http_options; leave them out"
    if settings.grpc_port is not None:
        yield "$.grpc_port: two replicas of a node cannot listen on one port; leave it out"
    if settings.tls is not None:
        yield "$.tls: Ray Serve listens; leave it out and end TLS in front of it"
    if settings.workers != 1:
        yield "$.workers: replicas scale instead, see args.autoscaling; leave it out"
    if settings.engine.threads is None:
        yield (
            "$.engine.threads: missing; a replica shares its node, so set the threads of a run "
            "(replicas are placed by threads x workers processors)"
        )
