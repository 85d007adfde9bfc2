"""Pages that istiod and the proxies serve on their own loopback, read through port-forwards."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from meshlab.core.address import host_port
from meshlab.core.http import Getter
from meshlab.kube.client import Kube
from meshlab.kube.portforward import PortForward

PROXY_PORT = 15000  # Envoy's administration
ISTIOD_PORT = 8080  # istiod's debug pages: plain HTTP, unrestricted for callers on its loopback
TIMEOUT = 15.0  # seconds for a whole page


class Pages(Protocol):
    """Where pages come from."""

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        """Get the JSON of a page of a pod.

        Args:
            namespace: Of the application.
            pod: Its name.
            port: Of the pod.
            path: Of the page.
            params: The query's.

        Returns:
            The document.

        Raises:
            QueryError: There is no answer, or no JSON; trying again may help.
            KubeError: The API server does not reach the pod.
        """


class PodPages:
    """Keeps one port-forward per pod and port open. A context manager, safe for several threads."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str, int], tuple[PortForward, Getter]] = {}

    def json(
        self, namespace: str, pod: str, port: int, path: str, params: Mapping[str, str | int] | None = None
    ) -> Any:
        """Get the JSON of a page of a pod.

        Args:
            namespace: Of the application.
            pod: Its name.
            port: Of the pod.
            path: Of the page.
            params: The query's.

        Returns:
            The document.

        Raises:
            QueryError: There is no answer, or no JSON; trying again may help.
            KubeError: The API server does not reach the pod.
        """
        return self._getter(namespace, pod, port).json(path, params)

    def _getter(self, namespace: str, pod: str, port: int) -> Getter:
        key = (namespace, pod, port)
        with self._lock:
            if key not in self._open:
                forward = PortForward(self._kube, namespace=namespace, pod=pod, port=port).open()
                getter = Getter(
                    forward.url,
                    timeout=TIMEOUT,
                    name=host_port(f"{namespace}/{pod}", port),
                    remedy="look at the pod and its log; reading it needs the permission to port-forward",
                    why=lambda: forward.last_error.message if forward.last_error else "",
                )
                self._open[key] = (forward, getter)
            return self._open[key][1]

    def close(self) -> None:
        """End every port-forward."""
        with self._lock:
            forwards = [forward for forward, _ in self._open.values()]
            self._open.clear()
        # Closing one waits for its threads; closed together they wait at the same time.
        with ThreadPoolExecutor(max_workers=max(len(forwards), 1)) as pool:
            list(pool.map(PortForward.close, forwards))

    def __enter__(self) -> PodPages:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
