"""Opening of a bundle by digest on one of many nodes."""

from pathlib import Path

from hazgate.errors import BundleError
from hazgate.judge import Judge
from hazgate.serving.launch import open_served
from hazgate.serving.settings import ServeSettings


def open_named(bundle: Path, digest: str | None, settings: ServeSettings) -> Judge:
    """Open the gate or level over a bundle with the given digest, or any bundle for None.

    Raises:
        BundleError: this node holds another bundle, or the bundle cannot be served.
    """
    gate = open_served(bundle, settings)
    if digest is not None and gate.model.digest != digest:
        raise BundleError(
            f"{bundle} on this node is another bundle with digest {gate.model.digest}, "
            f"expected {digest}; copy the same bundle to every node"
        )
    return gate
