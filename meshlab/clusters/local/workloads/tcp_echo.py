"""`python3 tcp_echo.py PORT[,PORT…] PREFIX`: answers each line with the prefix, a space and the line.

Stands for the server of Istio's sample tcp-echo and takes the same arguments.
"""

from __future__ import annotations

import signal
import socket
import socketserver
import sys
import threading
from queue import SimpleQueue
from typing import Any

LONGEST = 64 * 1024  # bytes of a line; a client that sends more without an end is cut off
IDLE = 300  # seconds that a silent connection is kept


class Server(socketserver.ThreadingTCPServer):
    """Echoes on one port, on every address, IPv4 and IPv6 where the machine has it."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, prefix: str, host: str = "::") -> None:
        self.prefix = prefix.encode()
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind the port for IPv4 and IPv6."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(socketserver.StreamRequestHandler):
    """One connection: line in, line out, until the client closes it."""

    timeout = IDLE
    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        """Answer each line until the client closes the connection."""
        while line := self.rfile.readline(LONGEST):
            if not line.endswith(b"\n"):
                return
            self.wfile.write(self.server.prefix + b" " + line)


def main(words: list[str]) -> None:
    """Serve until SIGTERM; exits with 2 and the usage when the words are not ports and a prefix."""
    ports = words[0].split(",") if len(words) == 2 else []
    if not ports or not all(port.isdigit() for port in ports):
        print("usage: tcp_echo.py PORT[,PORT...] PREFIX", file=sys.stderr)
        raise SystemExit(2)
    stop: SimpleQueue[int] = SimpleQueue()  # unlike an Event's, its lock can't be held when a handler puts
    signal.signal(
        signal.SIGTERM, lambda signum, _: stop.put(signum)
    )  # process 1 has no default action for it
    servers = [Server(int(port), words[1]) for port in ports]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"listening on {server.server_address[1]}, prefix: {words[1]}", flush=True)
    stop.get()
    for server in servers:
        server.server_close()


if __name__ == "__main__":
    main(sys.argv[1:])
