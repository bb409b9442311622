"""A port for the ranks to meet at."""

import socket


def free_port() -> int:
    """A TCP port that was free on this machine a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
