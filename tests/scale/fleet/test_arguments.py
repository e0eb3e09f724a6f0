"""The keys that a configuration of Ray Serve may hold."""

from pathlib import Path
from typing import Any

import pytest

from hazgate.errors import BundleError
from hazgate_scale.fleet.arguments import Arguments, replica_settings

DIGEST = "a" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "serve.toml"
    file.write_text("[engine]\nthreads = 2\n", encoding="utf-8")
    return file


def test_every_wrong_argument_is_named_at_once() -> None:
    args = {
        "bundel": "/b",
        "bundle": 3,
        "autoscaling": {"min_replicas": "2", "max_replica": 4},
    }
    with pytest.raises(BundleError) as caught:
        Arguments.parse(args)
    message = str(caught.value)
    for wrong in ("args.bundel", "args.bundle:", "min_replicas", "max_replica:"):
        assert wrong in message


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"bundle": "build/mini"}, "args.bundle"),
        ({"settings": "serve.toml"}, "args.settings"),
        ({"policy": "strict.toml"}, "args.policy"),
        ({"bundle_digest": "A" * 64}, "args.bundle_digest"),
        ({"bundle_digest": "abc"}, "args.bundle_digest"),
        ({"autoscaling": {"min_replicas": 0}}, "min_replicas"),
        ({"autoscaling": {"min_replicas": 3, "max_replicas": 2}}, "max_replicas"),
        ({"autoscaling": {"target_tokens": 0}}, "target_tokens"),
        ({"autoscaling": {"look_back_s": float("nan")}}, "look_back_s"),
        ({"autoscaling": {"look_back_s": 10.0}}, "look_back_s"),
        ({"autoscaling": {"upscale_delay_s": -1}}, "upscale_delay_s"),
        ({"autoscaling": {"downscale_delay_s": float("nan")}}, "downscale_delay_s"),
    ],
)
def test_an_argument_that_contradicts_is_refused_by_name(args: dict[str, Any], named: str) -> None:
    with pytest.raises(BundleError, match=named):
        Arguments.parse({"bundle": "/bundle", **args})


def test_a_bundle_on_the_hub_is_the_same_on_every_node() -> None:
    reference = f"hub:team/gate@{'a' * 40}"
    assert Arguments.parse({"bundle": reference}).bundle == reference


def test_what_is_not_a_replicas_to_choose_is_refused_at_once(settings: Path) -> None:
    settings.write_text(
        "port = 9000\ngrpc_port = 9001\nworkers = 2\n"
        '[tls]\ncertificate_file = "c"\nkey_file = "k"\n',
        encoding="utf-8",
    )
    with pytest.raises(BundleError) as caught:
        replica_settings(Arguments(bundle="/bundle", settings=str(settings)))
    for name in ("$.port", "$.grpc_port", "$.workers", "$.tls", "$.engine.threads"):
        assert name in str(caught.value)


def test_a_replica_without_settings_is_told_to_name_its_threads() -> None:
    with pytest.raises(BundleError, match=r"engine\.threads"):
        replica_settings(Arguments(bundle="/bundle"))


def test_the_policy_of_the_arguments_wins_over_that_of_the_settings(settings: Path) -> None:
    settings.write_text(
        '[engine]\nthreads = 2\n[policy]\nfile = "old.toml"\nshadow = "tried.toml"\n',
        encoding="utf-8",
    )
    chosen = replica_settings(
        Arguments(bundle="/bundle", settings=str(settings), policy="/new.toml")
    )
    assert chosen.policy.file == "/new.toml"
    assert chosen.policy.shadow == str(settings.parent / "tried.toml")
