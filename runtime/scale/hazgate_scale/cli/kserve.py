"""`hazgate kserve`: serve a bundle with the server of KServe's SDK."""

from pathlib import Path

import click

from hazgate.cli.extras import requires

_LIBRARIES = (
    "kserve",
    "grpc_interceptor",
    "fastapi",
    "starlette",
    "pydantic",
    "prometheus_client",
    "jiter",
    "uvicorn",
    "grpc",
)
_PATH = click.Path(path_type=Path)


# No --config: KServe's SDK reads the command line too and has an option of that name.
@click.command(
    epilog="""\b
Examples:
  hazgate kserve build/mini
  hazgate kserve /mnt/models --settings serve.toml --model-name gate"""
)
@click.argument("bundle", type=_PATH)
@click.option("--settings", type=_PATH, help="TOML file of settings, as for `hazgate serve`.")
@click.option("--model-name", help="Name of the model in v2.  [default: the bundle's]")
@click.option("--bundle-digest", help="Serve only the bundle with this digest.")
def kserve(
    bundle: Path, settings: Path | None, model_name: str | None, bundle_digest: str | None
) -> None:
    """Serve BUNDLE over KServe's v2: HTTP, and gRPC if the settings have a grpc_port.

    SIGTERM answers accepted requests and ends.
    """
    with requires("kserve", {"hazgate-scale[kserve]": _LIBRARIES}):
        from hazgate.serving.settings import ServeSettings
        from hazgate_scale.fleet import kserve_predictor
    loaded = ServeSettings.load(settings) if settings else ServeSettings()
    kserve_predictor.run(bundle, loaded, digest=bundle_digest, name=model_name)
