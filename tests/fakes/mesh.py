"""A cluster in memory with what Istio adds: its kinds, its label selectors, and the typed calls that are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubernetes.client.exceptions import ApiException

from tests.fakes.kube import FakeKube

ISTIO_KINDS = {
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"): False,
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"): False,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): False,
    ("rbac.authorization.k8s.io/v1", "Role"): True,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): True,
    ("coordination.k8s.io/v1", "Lease"): True,
    ("networking.istio.io/v1alpha3", "EnvoyFilter"): True,
}


DONE = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


class FakeMesh(FakeKube):
    """FakeKube that understands `key in (…)` and `key` as selectors, has `core`.

    And empties a namespace that goes.
    """

    def __init__(self, objects: Iterable[Mapping[str, Any]] = ()) -> None:
        super().__init__(objects)
        self.kinds |= ISTIO_KINDS
        self.core = FakeCore(self)

    def objects(
        self, api_version: str, kind: str, namespace: str | None = None, *, selector: str | None = None
    ) -> list[dict[str, Any]]:
        if selector is None or "=" in selector:
            return super().objects(api_version, kind, namespace, selector=selector)
        key, _, rest = selector.partition(" in ")
        values = [value.strip() for value in rest.strip("()").split(",")] if rest else None
        found = super().objects(api_version, kind, namespace)
        labels = [each["metadata"].get("labels") or {} for each in found]
        return [
            each
            for each, its in zip(found, labels, strict=True)
            if key in its and (values is None or its[key] in values)
        ]

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, foreground: bool = True
    ) -> bool:
        if kind == "Namespace":
            self.store = {key: each for key, each in self.store.items() if key[2] != name}
        return super().delete(api_version, kind, name, namespace, foreground=foreground)


class ReadyMesh(FakeMesh):
    """Every Deployment that is applied is available at once."""

    def put(self, document: Any) -> None:
        super().put({**document, **({"status": DONE} if document["kind"] == "Deployment" else {})})


class FakeCore:
    """The two calls of CoreV1Api that Istio's modules make."""

    def __init__(self, kube: FakeKube) -> None:
        self._kube = kube

    def delete_namespaced_pod(self, name: str, namespace: str, *, grace_period_seconds: int) -> None:
        self._kube.calls.append(("delete", "Pod", name))
        if self._kube.store.pop(("v1", "Pod", namespace, name), None) is None:
            raise ApiException(status=404, reason="Not Found")

    def patch_namespace(self, name: str, body: Mapping[str, Any]) -> None:
        stored = self._kube.store["v1", "Namespace", None, name]
        labels = dict(stored["metadata"].get("labels") or {})
        for key, value in body["metadata"]["labels"].items():
            if value is None:
                labels.pop(key, None)
            else:
                labels[key] = value
        stored["metadata"]["labels"] = labels
        self._kube.calls.append(("patch", "Namespace", name))


def make_object(
    api_version: str, kind: str, name: str, namespace: str | None = None, **labels: str
) -> dict[str, Any]:
    """An object with nothing but its name and labels; dots and dashes of a label's key are written `__` and `_`."""
    meta: dict[str, Any] = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = {key.replace("__", ".").replace("_", "-"): value for key, value in labels.items()}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}
