"""The few calls to the API server that bringing it up needs, on the standard library alone.

meshlab.kube is what everything else uses. Here its import would cost more than the calls: the start of a
cluster is measured in tenths of a second.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from meshlab.clusters.local.layout import API_PORT, Layout
from meshlab.core.errors import ClusterError, KubeError
from meshlab.core.waiting import wait

TIMEOUT = 5.0  # seconds per call
PATHS = {
    "Node": "/api/v1/nodes/{name}",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts/{name}",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps/{name}",
    "Service": "/api/v1/namespaces/{namespace}/services/{name}",
    "Deployment": "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{name}",
}


class Api:
    """The API server, as the administrator whose keys lie in the layout's pki folder.

    One connection per call.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._context: ssl.SSLContext | None = None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request, return the answer's JSON (or text).

        Raises KubeError, retryable where there was no answer.
        """
        connection = http.client.HTTPSConnection(
            self.layout.hub_address, API_PORT, timeout=TIMEOUT, context=self._tls()
        )
        headers = {"Accept": "application/json", "Content-Type": "application/apply-patch+yaml"}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as problem:
            what = str(problem) or type(problem).__name__
            raise KubeError(
                f"the API server at {self.layout.endpoint} does not answer: {what}", retryable=True
            ) from problem
        finally:
            connection.close()
        if answer.status >= 300:
            # 403 is what everyone gets until RBAC is bootstrapped, 5xx what a starting server says.
            retryable = answer.status in (403, 404, 409, 429) or answer.status >= 500
            raise KubeError(
                f"{method} {path} was answered with {answer.status}: {text[:300]}",
                status=answer.status,
                retryable=retryable,
            )
        return json.loads(text) if text.startswith("{") else text

    def apply(self, document: Mapping[str, Any]) -> None:
        """Server-side apply of one object, of a kind in PATHS. Raises KubeError."""
        path = PATHS[document["kind"]].format(**document["metadata"])
        self.call("PATCH", f"{path}?fieldManager=meshlab&force=true", document)

    def apply_first(
        self, documents: Iterable[Mapping[str, Any]], *, timeout: float, stop: threading.Event
    ) -> None:
        """Apply objects as soon as the starting API server takes them.

        timeout: seconds per object. Raises WaitTimeout, KubeError; ClusterError once `stop` is set.
        """
        for document in documents:
            wait(
                f"the API server to take {document['kind']} {document['metadata']['name']}",
                partial(self._applied, document, stop),
                ready=bool,
                error=lambda _: ClusterError("applying was given up") if stop.is_set() else None,
                timeout=timeout,
                delay=0.05,
            )

    def _applied(self, document: Mapping[str, Any], stop: threading.Event) -> bool:
        if not stop.is_set():
            self.apply(document)
        return not stop.is_set()

    def nodes(self) -> dict[str, str]:
        """Return node name → `Ready`, or the reason that it is not."""
        return {
            item["metadata"]["name"]: _readiness(item) for item in self.call("GET", "/api/v1/nodes")["items"]
        }

    def node_states(self) -> dict[str, str]:
        """Return what `nodes` does; while the server does not answer yet, that instead."""
        try:
            return self.nodes()
        except KubeError as problem:
            if not problem.retryable:
                raise
            return {"API server": "not ready yet"}

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self.layout.ca)
            self._context.load_cert_chain(self.layout.pki / "admin.crt", self.layout.pki / "admin.key")
        return self._context


def _readiness(node: Mapping[str, Any]) -> str:
    for condition in node.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            if condition["status"] == "True":
                return "Ready"
            return f"{condition['reason']}: {condition['message']}"[:200]
    return "registered"
