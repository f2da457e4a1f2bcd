"""TCP keepalive: how soon a connection is known to be dead on which nothing is said."""

import socket

KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""Seconds of silence, seconds between probes, probes without an answer. A connection that waits and whose other side is
gone is dead to us after some 11 s, and no firewall forgets one that is only idle."""


def keepalive_options() -> dict[int, int]:
    """Return what this system knows of them; macOS calls the first one TCP_KEEPALIVE."""
    found = {name: getattr(socket, name, None) for name in KEEPALIVE}
    found["TCP_KEEPIDLE"] = found["TCP_KEEPIDLE"] or getattr(socket, "TCP_KEEPALIVE", None)
    return {option: KEEPALIVE[name] for name, option in found.items() if option is not None}
