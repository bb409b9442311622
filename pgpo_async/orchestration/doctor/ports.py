"""Whether a run can listen where it wants to: its metrics' port, and the loopback interface for Ray."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import psutil

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.lines import Line, error, ok

LOOPBACK = "127.0.0.1"
_CONNECT_S = 2.0


def check_ports(config: RunConfig) -> Iterator[Line]:
    """Yield a line on the metrics' port, and one on what Ray's processes find each other by."""
    yield _metrics_port(config.metrics.host, config.metrics.port)
    if config.ray.address is None:
        yield _loopback()


def _metrics_port(host: str, port: int | None) -> Line:
    if port is None:
        return ok("metrics port", "none: metrics.port is null")
    place = f"{host}:{port}" if port else f"a port of {host}"
    try:
        _listen(host, port)
    except OSError as cause:
        holder = _holder(port) if port else ""
        return error(
            "metrics port",
            f"{place} cannot be listened on: {cause.strerror or cause}{holder}",
            "set metrics.port=0 for any that is free, null for none, or end what has it"
            if port
            else "set metrics.host to an address of this machine, such as 127.0.0.1",
        )
    return ok("metrics port", f"{place} can be had")


def _listen(host: str, port: int) -> None:
    """As the exporter will. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)


def _holder(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and tuple(connection.laddr)[1:] == (port,):
                if connection.pid is None:
                    break  # another user's
                process = psutil.Process(connection.pid)
                return f" (by {process.name()}, process {process.pid} of {process.username()})"
    return ""


def _loopback() -> Line:
    """Ray's parts and the learner's ranks meet there, each on a port that the kernel chooses."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
            server.bind((LOOPBACK, 0))
            server.listen(1)
            with socket.create_connection(server.getsockname(), timeout=_CONNECT_S):
                pass
    except OSError as cause:
        return error(
            "loopback",
            f"{LOOPBACK} does not answer: {cause}",
            "bring the interface up: `ip link set lo up`",
        )
    return ok("loopback", f"{LOOPBACK} answers: Ray takes free ports there")
