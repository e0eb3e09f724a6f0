"""Ports of the loopback."""

import random
import socket

# Linux takes the local ends of connections from 32768 on, and Ray's workers listen below 20000: a
# server that starts late still finds its port.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that is free now and that no client's connection takes meanwhile."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
