"""`hazgate serve`: a bundle behind HTTP and gRPC, in the protocols of many gateways."""

import signal
from pathlib import Path

import click

from hazgate.cli.extras import requires

_EXTRAS = {
    "hazgate[cli,serve]": (
        *("fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client", "jiter"),
    ),
    "hazgate[cli,serve,grpc]": ("grpc", "grpc_health", "envoy", "open_inference", "google"),
    "hazgate[cli,serve,otel]": ("opentelemetry",),
}
_PATH = click.Path(path_type=Path)
_PORT = click.IntRange(0, 65_535)


@click.command(
    epilog="""\b
Examples:
  hazgate serve build/mini
  hazgate serve build/mini --config serve.toml --port 9000 --grpc-port 9001
  curl localhost:8080/v1/check -d '{"text": "hello"}' -H 'content-type: application/json'"""
)
@click.argument("bundle", type=_PATH)
@click.option("--config", type=_PATH, help="A TOML file of settings; options override it.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=_PORT, help="HTTP port.  [default: 8080]")
@click.option("--grpc-port", type=_PORT, help="gRPC port.  [default: none]")
@click.option("--workers", type=click.IntRange(min=1), help="Number of processes.  [default: 1]")
@click.option(
    "--level", help="The level to serve alone.  [default: the cascade, or the only level]"
)
@click.option("--policy", type=_PATH, help="A policy file that decides.")
@click.option(
    "--exits",
    type=_PATH,
    help="A probe file for a variant with early exits.  [default: the bundle's]",
)
@click.option(
    "--digest",
    "--bundle-digest",
    "digest",
    help="Serve only the bundle with this digest, also after a reload.",
)
def serve(
    bundle: Path,
    config: Path | None,
    host: str | None,
    port: int | None,
    grpc_port: int | None,
    workers: int | None,
    level: str | None,
    policy: Path | None,
    exits: Path | None,
    digest: str | None,
) -> None:
    """Serve BUNDLE over HTTP and gRPC; /docs describes the API.

    SIGTERM answers the waiting requests and ends. SIGHUP reads the bundle, settings, policies,
    keys and certificate again, takes over all or nothing, and drops no request.
    """
    with requires("serve", _EXTRAS):
        from hazgate.serving import launch
        from hazgate.serving.source import ServeOptions, ServeSource

        source = ServeSource(
            bundle=bundle,
            config=config,
            options=ServeOptions(
                host=host,
                port=port,
                grpc_port=grpc_port,
                workers=workers,
                level=level,
                policy=None if policy is None else str(policy),
                exits=None if exits is None else str(exits),
            ),
            digest=digest,
        )
        inputs = source.read()
        settings = inputs.settings
        if settings.grpc_port is not None:
            import hazgate.serving.rpc.endpoint
        if settings.traces:
            import hazgate.serving.tracing  # noqa: F401 - fails before anything is opened
    # Errors appear here, once, whatever the number of workers.
    model = launch.open_served(bundle, settings, inputs.digest).model
    click.echo(
        f"{model.bundle} {model.variant} on http://{settings.host}:{settings.port}, its API at "
        "/docs",
        err=True,
    )
    # After it has drained, uvicorn sends itself its signal again; an orderly end must exit with 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    launch.run(source, inputs)
