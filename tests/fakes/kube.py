"""A cluster in memory. It knows the kinds that it was given, stores what is applied, and refuses everything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.core.errors import KubeError
from meshlab.kube.pods import PodSummary, summarise

NAMESPACED = (
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Event"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
)
CLUSTER_WIDE = (
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
)
CRD = "CustomResourceDefinition"

# A control plane, as far as looking for one goes.
ISTIOD: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod"}},
}


@dataclass(frozen=True)
class FakeResource:
    """What the code under test reads of a discovered kind."""

    namespaced: bool


class FakeKube:
    """Stands in for meshlab.kube.client.Kube. An unknown method is an AttributeError, an unknown kind a 404.

    calls: what was applied and deleted, in order. refuse: called with (verb, kind, name) before a write;
    may raise. An object with finalizers stays when it is deleted, marked. streams: what open_exec and
    open_portforward hand out, in order; a KubeError among them is raised.
    """

    host = "https://cluster.test"

    def __init__(self, objects: Iterable[Mapping[str, Any]] = ()) -> None:
        self.kinds = {**dict.fromkeys(NAMESPACED, True), **dict.fromkeys(CLUSTER_WIDE, False)}
        self.store: dict[tuple[str, str, str | None, str], dict[str, Any]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.logs: dict[tuple[str, str, bool], str] = {}
        self.streams: list[Any] = []
        self.opened: list[tuple[Any, ...]] = []
        self.discoveries = 0
        self.refuse: Callable[[str, str, str], None] = lambda verb, kind, name: None
        for each in objects:
            self.put(each)

    def put(self, document: Mapping[str, Any]) -> None:
        """Store an object as it is."""
        meta = document["metadata"]
        key = (document["apiVersion"], document["kind"], meta.get("namespace"), meta["name"])
        self.store[key] = copy.deepcopy(dict(document))

    def resource(self, api_version: str, kind: str) -> FakeResource:
        if (api_version, kind) not in self.kinds:
            raise KubeError(f"no kind {kind} of {api_version}", status=404)
        return FakeResource(self.kinds[api_version, kind])

    def forget_discovery(self) -> None:
        self.discoveries += 1

    def objects(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: str | None = None
    ) -> list[dict[str, Any]]:
        self.resource(api_version, kind)
        terms = selector.split(",") if selector else []
        wanted = dict(term.split("=") for term in terms if "=" in term)
        named = {term for term in terms if "=" not in term}  # labels of any value
        return [
            copy.deepcopy(found)
            for (version, its_kind, its_namespace, _), found in self.store.items()
            if (version, its_kind) == (api_version, kind)
            and namespace in (None, its_namespace)
            and wanted.items() <= (found["metadata"].get("labels") or {}).items()
            and named <= (found["metadata"].get("labels") or {}).keys()
        ]

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        self.resource(api_version, kind)
        return copy.deepcopy(self.store.get((api_version, kind, namespace, name)))

    def server_side_apply(
        self, document: Mapping[str, Any], *, namespace: str | None = None, field_manager: str = "meshlab"
    ) -> dict[str, Any]:
        kind, name = document["kind"], document["metadata"]["name"]
        self.resource(document["apiVersion"], kind)
        self.calls.append(("apply", kind, name))
        self.refuse("apply", kind, name)
        stored = copy.deepcopy(dict(document))
        if kind == CRD:
            spec = document["spec"]
            for version in spec["versions"]:
                served = f"{spec['group']}/{version['name']}"
                self.kinds[served, spec["names"]["kind"]] = spec.get("scope") == "Namespaced"
            stored["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        self.put(stored)
        return stored

    def create(self, document: Mapping[str, Any], *, namespace: str | None = None) -> dict[str, Any]:
        return self._write("create", document, namespace, there=False)

    def replace(self, document: Mapping[str, Any], *, namespace: str | None = None) -> dict[str, Any]:
        return self._write("replace", document, namespace, there=True)

    def patch(
        self,
        api_version: str,
        kind: str,
        name: str,
        patch: Mapping[str, Any],
        namespace: str | None = None,
    ) -> dict[str, Any]:
        found = self.get(api_version, kind, name, namespace)
        if found is None:
            raise KubeError(f"no {kind} {name}", status=404)
        return self._write("patch", _merged(found, patch), namespace, there=True)

    def _write(
        self, verb: str, document: Mapping[str, Any], namespace: str | None, *, there: bool
    ) -> dict[str, Any]:
        """Store an object whose resourceVersion, if it has one, must be that of the stored one."""
        kind, name = document["kind"], document["metadata"]["name"]
        self.calls.append((verb, kind, name))
        self.refuse(verb, kind, name)
        found = self.get(document["apiVersion"], kind, name, namespace)
        if (found is not None) != there:
            raise KubeError(f"{kind} {name} is {'not ' if there else ''}there", status=404 if there else 409)
        version = (found or {}).get("metadata", {}).get("resourceVersion")
        if verb == "replace" and document["metadata"].get("resourceVersion") != version:
            raise KubeError(f"{kind} {name} was changed", status=409, retryable=True)
        assert document["metadata"].get("namespace") == namespace
        self.put(document)
        meta = document["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers"):  # the last one was taken away
            del self.store[document["apiVersion"], kind, namespace, name]
        return copy.deepcopy(dict(document))

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, foreground: bool = True
    ) -> bool:
        self.calls.append(("delete", kind, name))
        self.refuse("delete", kind, name)
        key = (api_version, kind, namespace, name)
        if key in self.store and self.store[key]["metadata"].get("finalizers"):
            self.store[key]["metadata"].setdefault("deletionTimestamp", "2026-01-02T03:04:05Z")
            return True
        return self.store.pop(key, None) is not None

    def pods(self, namespace: str | None, selector: str | None = None) -> list[PodSummary]:
        return [summarise(pod) for pod in self.objects("v1", "Pod", namespace, selector=selector)]

    def pod_log(
        self,
        namespace: str,
        pod: str,
        container: str | None = None,
        *,
        previous: bool = False,
        lines: int = 500,
    ) -> str:
        try:
            return self.logs[pod, container or "", previous]
        except KeyError:
            raise KubeError(f"no log of {pod}/{container}", status=404) from None

    def open_exec(
        self, namespace: str, pod: str, container: str | None, argv: Sequence[str], *, stdin: bool
    ) -> Any:
        return self._open(namespace, pod, container, tuple(argv), stdin)

    def open_portforward(self, namespace: str, pod: str, port: int) -> Any:
        return self._open(namespace, pod, port)

    def _open(self, *what: Any) -> Any:
        self.opened.append(what)
        if not self.streams:
            raise AssertionError(f"FakeKube was not told about this stream: {what}")
        stream = self.streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        return stream


def _merged(target: Any, patch: Any) -> Any:
    """RFC 7396, "Processing JSON Merge Patch Documents"."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


class FakeExecStream:
    """Stands in for the library's WSClient on an exec: plays frames, (channel, bytes) each, then closes.

    A frame that is an exception is raised. After a None it waits until something was written to it
    (standard input). status: the final Status; None: the connection ends without one.
    """

    subprotocol = "v5.channel.k8s.io"

    def __init__(
        self,
        frames: Sequence[tuple[int, bytes] | Exception | None],
        status: Mapping[str, Any] | None = {"status": "Success"},
    ) -> None:
        self.frames = list(frames)
        if status is not None:
            self.frames.append((3, json.dumps(status).encode()))
        self.written: list[bytes] = []
        self.input_closed = False
        self.closed = False
        self._channels: dict[int, bytes] = {}

    def is_open(self) -> bool:
        return bool(self.frames) and not self.closed

    def update(self, timeout: float = 0) -> None:
        if not self.frames:
            return
        frame = self.frames[0]
        if frame is None:
            if not self.written:
                return
            self.frames.pop(0)
            return
        self.frames.pop(0)
        if isinstance(frame, Exception):
            raise frame
        channel, data = frame
        self._channels[channel] = self._channels.get(channel, b"") + data

    def read_channel(self, channel: int, timeout: float = 0) -> bytes:
        return self._channels.pop(channel, b"")

    def write_channel(self, channel: int, data: bytes) -> None:
        assert channel == 0
        self.written.append(data)

    def close_channel(self, channel: int) -> None:
        assert channel == 0
        self.input_closed = True

    def close(self, **_: Any) -> None:
        self.closed = True


def exit_status(code: int) -> dict[str, Any]:
    """The Status with which the API server ends a command that returned this code."""
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}


def make_pod(
    name: str, *, namespace: str = "default", labels: Mapping[str, str] | None = None, **status: Any
) -> Any:
    """A Ready pod of one container `app` and a native sidecar, but for what `status` replaces."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "labels": dict(labels or {}),
        },
        "spec": {
            "nodeName": "node-1",
            "serviceAccountName": "sa",
            "containers": [
                {"name": "app", "image": "app:1", "ports": [{"name": "http", "containerPort": 8080}]}
            ],
            "initContainers": [
                {"name": "istio-init", "image": "proxy:1"},
                {"name": "istio-proxy", "image": "proxy:1", "restartPolicy": "Always"},
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "startTime": "2026-01-02T03:04:05Z",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}],
            "initContainerStatuses": [
                {"name": "istio-init", "state": {"terminated": {"exitCode": 0}}, "restartCount": 0},
                {
                    "name": "istio-proxy",
                    "state": {"running": {}},
                    "started": True,
                    "ready": True,
                    "restartCount": 1,
                },
            ],
            "containerStatuses": [
                {"name": "app", "state": {"running": {}}, "ready": True, "restartCount": 0}
            ],
            **status,
        },
    }
