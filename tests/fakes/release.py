"""A place where releases of Istio lie, on the loopback: archives as they are, cut off, damaged, slow or absent."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

ISTIOCTL = '#!/bin/sh\necho \'{"clientVersion": {"version": "%s"}}\'\n'


def archive(
    version: str,
    samples: Mapping[str, str] | None = None,
    *,
    inside: str | None = None,
    extra: tarfile.TarInfo | None = None,
) -> bytes:
    """A release as Istio packs it, its istioctl a script that knows its version.

    inside: another name of its folder. extra: one more entry, without content.
    """
    root, packed = inside or f"istio-{version}", io.BytesIO()
    files = {
        "bin/istioctl": ISTIOCTL % version,
        **{f"samples/{n}": t for n, t in (samples or {"readme": "x"}).items()},
    }
    with tarfile.open(fileobj=packed, mode="w:gz") as sink:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode = len(text.encode()), 0o755 if name.startswith("bin/") else 0o644
            sink.addfile(entry, io.BytesIO(text.encode()))
        if extra is not None:
            sink.addfile(extra)
    return packed.getvalue()


class Releases:
    """A file server.

    cut: how many answers to archives break off half-way. damaged: one byte differs. ranges: whether it can
    go on in the middle. slow: bytes that are sent at a time. encoded: it says of archives that gzip is
    their encoding on the way. asked: (path, range) of each request.
    """

    def __init__(self, version: str, flavour: str, content: bytes, *, checksum: str | None = None) -> None:
        self.path = f"/{version}/istio-{version}-{flavour}.tar.gz"
        self.content = content
        self.checksum = (
            checksum if checksum is not None else f"{hashlib.sha256(content).hexdigest()}  istio.tar.gz\n"
        )
        self.cut, self.damaged, self.ranges, self.slow = 0, 0, True, 0
        self.encoded = False
        self.asked: list[tuple[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append((self.path, self.headers.get("Range", "")))
                if self.path == server.path + ".sha256":
                    self._send(200, server.checksum.encode())
                elif self.path == server.path:
                    self._archive()
                else:
                    self._send(404, b"not found")

            def _archive(self) -> None:
                data, start = server.content, 0
                if server.damaged:
                    server.damaged -= 1
                    data = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
                if server.ranges and self.headers.get("Range"):
                    start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(data):
                    self._send(416, b"")
                    return
                cut = len(data) - start
                if server.cut:
                    server.cut -= 1
                    cut //= 2
                self._send(206 if start else 200, data[start:], cut)

            def _send(self, status: int, data: bytes, cut: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                if server.encoded and self.path == server.path:
                    self.send_header("Content-Encoding", "gzip")
                self.end_headers()
                part = data[: len(data) if cut is None else cut]
                step = server.slow or len(part) or 1
                for at in range(0, len(part), step):
                    self.wfile.write(part[at : at + step])

            def log_message(self, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Releases:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
