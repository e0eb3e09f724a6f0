"""hazgate's own server, limited to the work of its peers.

    python level1_server.py BUNDLE --variant int8 --port 8000 --threads 2 --timeout-s 0.35

It runs Level 1 on the first window of a text, which is as long as the model allows: no second
level, no further window, no close reading. All else is as in `hazgate serve`.
"""

from pathlib import Path

import click
import uvicorn

from hazgate import Gate
from hazgate.engine.logit_store import NO_STORE
from hazgate.engine.options import EngineOptions
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import EngineTable, RequestTable, ServeSettings
from hazgate.text.reading import Reading

# No text reaches it, so none is flagged and read again.
_UNREACHABLE = 1 - 1e-9


def open_level1(bundle: Path, variant: str, threads: int) -> Gate:
    """Open a gate whose verdicts are Level 1's probability of one window.

    Raises:
        HazgateError: the bundle or the variant cannot be served.
    """
    widest = Gate.open(
        bundle, engine=EngineOptions(variant=variant, threads=1)
    ).level1.spec.tokenizer.max_tokens
    return Gate.open(
        bundle,
        engine=EngineOptions(variant=variant, threads=threads),
        threshold=_UNREACHABLE,
        reading=Reading(long_texts="truncate", window_tokens=widest),
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option("--variant", required=True)
@click.option("--port", type=int, required=True)
@click.option("--threads", type=click.IntRange(min=1), required=True)
@click.option("--timeout-s", type=float, required=True)
def main(bundle: Path, variant: str, port: int, threads: int, timeout_s: float) -> None:
    """Serve Level 1 of BUNDLE."""
    settings = ServeSettings(
        engine=EngineTable(variant=variant, threads=threads),
        request=RequestTable(timeout_s=timeout_s),
        store=NO_STORE,
    )
    uvicorn.run(
        create_app(open_level1(bundle, variant, threads), settings),
        port=port,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
