"""A headless Chromium that opens files, driven over its DevTools protocol. Debian's package `chromium`."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import websocket

from meshlab.core.waiting import wait

START = 60.0  # seconds, on a busy machine
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip


class Page:
    """One open page. requests: every address that it has asked for since it was opened."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.requests: list[str] = []
        self._loaded = False
        for domain in ("Page", "Network", "Runtime", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events that pass by are taken note of."""
        wanted = next(self._ids)
        self._socket.send(json.dumps({"id": wanted, "method": method, "params": params}))
        while True:
            message = self._take()
            if message.get("id") == wanted:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]

    def _take(self) -> dict[str, Any]:
        message = json.loads(self._socket.recv())
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        elif message.get("method") == "Page.loadEventFired":
            self._loaded = True
        return message

    def open(self, address: str, *, width: int = 1440, height: int = 900, dark: bool = False) -> None:
        """Open an address in a window of that size, in light or dark, and wait until it is loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._loaded = False
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._take()

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def accessible(self, *roles: str) -> list[tuple[str, str]]:
        """Role and name of all that has one of the roles, as the browser tells it to assistive programs."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and node["role"]["value"] in roles
        ]

    def picture(self, path: Path, selector: str = "html") -> None:
        """Write a PNG of the first element that the selector finds, whatever its size."""
        box = self.ask(
            f"(() => {{const b = document.querySelector({selector!r}).getBoundingClientRect();"
            "return {x: b.x + scrollX, y: b.y + scrollY, width: b.width,"
            " height: Math.min(b.height, 12000)}})()"
        )
        answer = self.call("Page.captureScreenshot", clip={**box, "scale": 1}, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """Start Chromium with a profile of its own, and end it. Fails where chromium is not installed."""
    program = shutil.which("chromium")
    assert program, "chromium is not installed: sh deployments/setup-debian.sh tests/debian-packages.txt"
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    port_file = profile / "DevToolsActivePort"
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=log, stderr=log
        )
    try:
        port = wait(
            "Chromium's port", lambda: _port(process, port_file, profile / "log"), ready=bool, timeout=START
        )
        yield Page(_connect(port))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _port(process: subprocess.Popen[bytes], port_file: Path, log: Path) -> int:
    assert process.poll() is None, (
        f"Chromium ended with {process.returncode}: {log.read_text(errors='replace')}"
    )
    text = port_file.read_text() if port_file.exists() else ""
    return int(text.splitlines()[0]) if "\n" in text else 0


def _connect(port: int) -> websocket.WebSocket:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=START) as answer:
        pages = json.load(answer)
    address = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
    return websocket.create_connection(address, timeout=START, suppress_origin=True)
