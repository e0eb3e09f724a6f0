"""Opening a bundle on a node of many, each of which may hold another one."""

from pathlib import Path

from hazgate.errors import BundleError
from hazgate.gate import Gate
from hazgate.serving.launch import open_gate
from hazgate.serving.settings import ServeSettings


def open_named(bundle: Path, digest: str | None, settings: ServeSettings) -> Gate:
    """The gate over the bundle of that digest; of any if it is None.

    Raises:
        BundleError: this node holds another bundle there, or it cannot be served.
    """
    gate = open_gate(bundle, settings)
    if digest is not None and gate.model.digest != digest:
        raise BundleError(
            f"{bundle} on this node is another bundle: its digest is {gate.model.digest}, "
            f"expected {digest}; copy the same bundle to every node"
        )
    return gate
