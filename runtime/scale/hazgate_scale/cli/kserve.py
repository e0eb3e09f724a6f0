"""`hazgate kserve`: a bundle behind the server of KServe's SDK."""

from pathlib import Path

import click

from hazgate.cli.extras import requires

_LIBRARIES = ("kserve", "fastapi", "starlette", "pydantic", "prometheus_client", "uvicorn", "grpc")
_PATH = click.Path(path_type=Path)


# No --config: KServe's SDK reads the command line too, and takes that for an option of its own.
@click.command(
    epilog="""\b
Examples:
  hazgate kserve build/mini
  hazgate kserve /mnt/models --settings serve.toml --model-name gate"""
)
@click.argument("bundle", type=_PATH)
@click.option("--settings", type=_PATH, help="A TOML file of settings, as `hazgate serve` takes.")
@click.option("--model-name", help="Name of the model in v2.  [default: the bundle's]")
@click.option("--bundle-digest", help="Serve no bundle but the one of this digest.")
def kserve(
    bundle: Path, settings: Path | None, model_name: str | None, bundle_digest: str | None
) -> None:
    """Answer KServe's v2 by BUNDLE over HTTP, and gRPC where the settings have a grpc_port.

    SIGTERM answers what was taken and ends.
    """
    with requires("kserve", {"hazgate-scale[kserve]": _LIBRARIES}):
        from hazgate.serving.settings import ServeSettings
        from hazgate_scale.fleet import kserve_predictor
    loaded = ServeSettings.load(settings) if settings else ServeSettings()
    kserve_predictor.run(bundle, loaded, digest=bundle_digest, name=model_name)
