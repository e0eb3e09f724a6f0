"""`hazgate serve`: a bundle behind HTTP, in the words of many gateways."""

import dataclasses
import signal
import sys
from pathlib import Path

import click

from hazgate.gate import Gate
from hazgate.policy import Policy
from hazgate.reading import Reading

_LIBRARIES = ("fastapi", "starlette", "pydantic", "uvicorn", "prometheus_client")
_PATH = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  hazgate serve build/mini
  hazgate serve build/mini --config serve.toml --port 9000
  curl localhost:8080/v1/check -d '{"text": "hello"}' -H 'content-type: application/json'"""
)
@click.argument("bundle", type=_PATH)
@click.option("--config", type=_PATH, help="A TOML file of settings.")
@click.option("--host", help="Address to listen on.  [default: the file's, or 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port.  [default: 8080]")
@click.option("--policy", type=_PATH, help="A policy file that decides.")
def serve(
    bundle: Path, config: Path | None, host: str | None, port: int | None, policy: Path | None
) -> None:
    """Answer over HTTP by BUNDLE until told to stop; the API is described at /docs.

    SIGTERM answers what is waiting and ends; SIGHUP opens bundle and policies anew and drops no
    request.
    """
    try:
        import uvicorn

        from hazgate.serving.app import create_app
        from hazgate.serving.edge import read_api_keys
        from hazgate.serving.settings import ServeSettings
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES:
            raise
        sys.exit(f"serve needs {library}: pip install 'hazgate[cli,serve]'")
    settings = ServeSettings.load(config) if config else ServeSettings()
    settings = dataclasses.replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )
    folder = config.parent if config else Path()
    chosen = policy or (folder / settings.policy.file if settings.policy.file else None)
    shadow = folder / settings.policy.shadow if settings.policy.shadow else None

    def open_gate() -> Gate:
        return Gate.open(
            bundle,
            variant=settings.engine.variant,
            provider=settings.engine.provider,
            threads=settings.engine.threads,
            reading=Reading(max_text_tokens=settings.request.max_text_tokens),
            policy=Policy.load(chosen) if chosen else None,
            shadow=Policy.load(shadow) if shadow else None,
        )

    gate = open_gate()
    keys = read_api_keys(folder / settings.api_keys_file) if settings.api_keys_file else ()
    click.echo(
        f"{gate.model.bundle} {gate.model.variant} on http://{settings.host}:{settings.port}, "
        "its API at /docs",
        err=True,
    )
    # Once it has drained, uvicorn sends itself the signal again that ended it; an orderly end is 0.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.run(
        create_app(gate, settings, keys, open_gate),
        host=settings.host,
        port=settings.port,
        # A request's line may hold nothing of a text, but it is the proxy's to log.
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=int(settings.drain_timeout_s) + 1,
    )
