"""Answers Prometheus: `/metrics` and `/healthz` of one run, from threads of the driver's own.

Owns the port. What is answered comes from the `Board`; who is well is said by the caller. A scrape holds up
nobody: it reads values that are there.
"""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.exposition import choose_encoder

from pgpo_async.contracts import ConfigError
from pgpo_async.metrics.board import Board

REQUEST_S = 10.0
"""Longest a client may take to send its request."""


class Exporter:
    """Listens from the start until `close`. `health` returns what is wrong, None if nothing is.

    Raises ConfigError if the port cannot be had.
    """

    def __init__(
        self, board: Board, *, host: str, port: int, health: Callable[[], str | None] = lambda: None
    ) -> None:
        class Handler(_Handler):
            pass

        Handler.board, Handler.health = board, staticmethod(health)
        self._server = _listening(host, port, Handler)
        self._host = host
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host = socket.gethostname() if self._host in ("0.0.0.0", "::") else self._host
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Give the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def check_port(host: str, port: int) -> None:
    """Raise ConfigError if a port cannot be had now."""
    _listening(host, port, _Handler).server_close()


def _listening(host: str, port: int, handler: "type[_Handler]") -> "_Server":
    try:
        return _Server((host, port), handler)
    except OSError as error:
        raise ConfigError(
            f"metrics.port: cannot listen on {host}:{port}: {error.strerror or error}; choose another, "
            "0 for any that is free, or null for none"
        ) from error


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A port is one run's: Prometheus would read one of two runs at random.
    allow_reuse_port = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)


class _Handler(BaseHTTPRequestHandler):
    board: Board
    health: Callable[[], str | None]
    timeout = REQUEST_S
    server_version = "pgpo-async"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, content_type, encode(self.board.registry))
        elif path == "/healthz":
            problem = self.health()
            self._answer(
                503 if problem else 200, "text/plain; charset=utf-8", f"{problem or 'ok'}\n".encode()
            )
        else:
            self._answer(404, "text/plain; charset=utf-8", b"there are /metrics and /healthz\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A scrape every few seconds is no news."""
