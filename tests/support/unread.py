"""Set-up of tests about texts whose scores say nothing: a policy on one kind, and its server."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient

from hazgate import Gate, Policy
from hazgate.judging.decision import Action
from hazgate.judging.speech import UnreadKind
from hazgate.serving.http.app import create_app
from hazgate.serving.settings import ServeSettings

LITELLM = "/beta/litellm_basic_guardrail_api"
_POLICY = """schema_version = 1
name = "unread"
mode = "strict"
unread = {{ {kind} = "{action}" }}
[gate]
controversial = 0.98
unsafe = 0.99
[hazards]
default = {{ action = "block", threshold = 0.0 }}
"""


def policy_on(kind: UnreadKind, action: Action) -> Policy:
    """Return a policy with an action on one kind, which flags hardly anything for its score."""
    return Policy.parse(_POLICY.format(kind=kind, action=action).encode())


def said(text: str) -> dict[str, object]:
    """Return the body of a chat with one message of a user."""
    return {"messages": [{"role": "user", "content": text}]}


@contextmanager
def served(gate: Gate) -> Iterator[TestClient]:
    """Serve a gate over HTTP, in this process."""
    with TestClient(create_app(gate, ServeSettings()), raise_server_exceptions=False) as client:
        yield client
