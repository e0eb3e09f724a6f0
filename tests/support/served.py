"""A gate behind the server's own application, for clients in this process."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient

from hazgate import Gate
from hazgate.serving.http.app import create_app
from hazgate.serving.launch import rpc_server
from hazgate.serving.settings import ServeSettings
from tests.support.sessions import Breakable, breakable_gate

# A word of texts that no log, metric or error may repeat.
MARKER = "unrepeatable"
LITELLM = "/beta/litellm_basic_guardrail_api"


@contextmanager
def served(
    gate: Gate, settings: ServeSettings | None = None, key_digests: tuple[bytes, ...] = ()
) -> Iterator[TestClient]:
    """Yield a client of a server of `gate`; an error in it is an answer, not a failed test."""
    app = create_app(gate, settings or ServeSettings(), key_digests, companion=rpc_server)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def breaking(gate: Gate, settings: ServeSettings) -> Iterator[tuple[TestClient, Breakable]]:
    """Yield a client of a server whose engine fails while the switch is set."""
    breakable, switch = breakable_gate(gate)
    with served(breakable, settings) as client:
        yield client, switch
