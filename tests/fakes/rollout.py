"""A cluster whose workloads really restart: new pods get the sidecar that their namespace asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.istio.injection import called_for, webhooks_in
from tests.fakes.istio_objects import istiod, webhooks
from tests.fakes.kube import make_pod
from tests.fakes.mesh import DONE, FakeMesh, make_object

SETS = {
    "StatefulSet": {"readyReplicas": 1, "currentRevision": "b", "updateRevision": "b"},
    "DaemonSet": {"desiredNumberScheduled": 1, "updatedNumberScheduled": 1, "numberAvailable": 1},
}


class RollingMesh(FakeMesh):
    """FakeMesh in which a changed pod template makes new pods at once.

    stuck: revisions whose pods never get Ready. ill: workloads whose new pods never do. frozen: workloads that never get
    new pods: the earlier ones stay.
    """

    def __init__(self, objects: Iterable[Mapping[str, Any]] = (), stuck: Iterable[str] = ()) -> None:
        self.stuck = set(stuck)
        self.ill, self.frozen = set[str](), set[str]()
        super().__init__(objects)
        self.kinds |= {
            ("policy/v1", "PodDisruptionBudget"): True,
            ("autoscaling/v2", "HorizontalPodAutoscaler"): True,
        }

    def patch(
        self, api_version: str, kind: str, name: str, patch: Mapping[str, Any], namespace: str | None = None
    ) -> dict[str, Any]:
        made = super().patch(api_version, kind, name, patch, namespace)
        if "template" in (patch.get("spec") or {}):
            self.roll(kind, name, str(namespace))
        return made

    def roll(self, kind: str, name: str, namespace: str) -> None:
        """Make the pods of a workload anew."""
        labels = self.store["v1", "Namespace", None, namespace]["metadata"].get("labels") or {}
        hooks = webhooks_in(self.objects("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"))
        called = called_for(hooks, labels, namespace)
        revision = called[0][0] if called else ""
        workload = self.store["apps/v1", kind, namespace, name]
        ready = revision not in self.stuck and name not in self.ill | self.frozen
        sets = SETS.get(kind, {})
        late = {
            "availableReplicas": 0,
            **{key: 0 for key in ("readyReplicas", "numberAvailable") if key in sets},
        }
        workload["status"] = {**DONE, **sets, **({} if ready else late)}
        if name in self.frozen:
            return
        pod = make_pod(f"{name}-1", namespace=namespace, labels={"app": name})
        pod["metadata"]["annotations"] = {"istio.io/rev": revision}  # as the webhook does it; no label
        if not revision:
            pod["spec"].pop("initContainers")
        self.put(pod)


def workload(name: str, namespace: str, kind: str = "Deployment") -> dict[str, Any]:
    """A workload of one pod."""
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "generation": 1},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {}}},
        "status": {**DONE, **SETS.get(kind, {})},
    }


def control_plane(revision: str, version: str) -> list[dict[str, Any]]:
    """What a revision has in the cluster, as far as an upgrade looks at it."""
    plane = istiod(revision, tag=version)
    plane["metadata"]["labels"]["operator.istio.io/component"] = "Pilot"
    suffix = "" if revision == "default" else f"-{revision}"
    role = make_object(
        "rbac.authorization.k8s.io/v1", "ClusterRole", f"istiod-clusterrole{suffix}-istio-system"
    )
    return [plane, webhooks(revision), role]


def two_namespaces() -> RollingMesh:
    """Istio 1.30.0 as the default revision, two namespaces with workloads in it, one outside of it."""
    mesh = RollingMesh(
        [
            make_object("v1", "Namespace", "istio-system"),
            make_object("v1", "Namespace", "shop", istio_injection="enabled", team="a"),
            make_object("v1", "Namespace", "bank", istio_injection="enabled"),
            make_object("v1", "Namespace", "plain"),
            *control_plane("default", "1.30.0"),
            workload("web", "shop"),
            workload("cart", "shop", "StatefulSet"),
            workload("ledger", "bank", "DaemonSet"),
            workload("tool", "plain"),
        ]
    )
    for kind, name, namespace in (
        ("Deployment", "web", "shop"),
        ("StatefulSet", "cart", "shop"),
        ("DaemonSet", "ledger", "bank"),
        ("Deployment", "tool", "plain"),
    ):
        mesh.roll(kind, name, namespace)
    return mesh
