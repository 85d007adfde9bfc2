"""The inventory finds what Istio brings, and only that."""

from __future__ import annotations

from meshlab.istio.inventory import istio_inventory
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh, make_object

ADMISSION, RBAC = "admissionregistration.k8s.io/v1", "rbac.authorization.k8s.io/v1"
OF_ISTIO = [
    make_object(ADMISSION, "MutatingWebhookConfiguration", "istio-sidecar-injector"),
    make_object(ADMISSION, "ValidatingWebhookConfiguration", "istiod-default-validator"),
    make_object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gateways.networking.istio.io"),
    make_object(RBAC, "ClusterRole", "istiod-clusterrole-istio-system"),
    make_object(RBAC, "ClusterRoleBinding", "istio-reader-clusterrole-istio-system"),
    make_object("v1", "Namespace", "istio-system"),
    make_object("v1", "Namespace", "default", istio_injection="enabled"),
    make_object("v1", "ConfigMap", "istio-ca-root-cert", "default"),
    make_object("coordination.k8s.io/v1", "Lease", "istio-leader", "istio-system"),
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "istiod",
            "namespace": "istio-system",
            "labels": {"operator.istio.io/component": "Pilot"},
        },
    },
    make_pod("sleep"),
]
NOT_OF_ISTIO = [
    make_object(ADMISSION, "MutatingWebhookConfiguration", "other"),
    make_object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gateways.gateway.networking.k8s.io"),
    make_object(RBAC, "ClusterRole", "prometheus"),
    make_object("v1", "Namespace", "kube-system", team="a"),
    make_object("v1", "ConfigMap", "kube-root-ca.crt", "default"),
    make_object("apps/v1", "Deployment", "web", "default"),
]


def without_sidecar(name: str) -> dict:
    pod = make_pod(name)
    del pod["spec"]["initContainers"]
    return pod


def test_everything_of_istios_is_found_by_kind():
    found = istio_inventory(FakeMesh([*OF_ISTIO, *NOT_OF_ISTIO, without_sidecar("web")]))
    assert {kind: names for kind, names in found.items() if names} == {
        "MutatingWebhookConfiguration": ("istio-sidecar-injector",),
        "ValidatingWebhookConfiguration": ("istiod-default-validator",),
        "CustomResourceDefinition": ("gateways.networking.istio.io",),
        "ClusterRole": ("istiod-clusterrole-istio-system",),
        "ClusterRoleBinding": ("istio-reader-clusterrole-istio-system",),
        "Namespace": ("istio-system",),
        "namespace label": ("default",),
        "ConfigMap": ("default/istio-ca-root-cert",),
        "Lease": ("istio-system/istio-leader",),
        "sidecar": ("default/sleep",),
        "Deployment": ("istio-system/istiod",),
    }


def test_a_cluster_without_istio_has_nothing_of_every_kind():
    found = istio_inventory(FakeMesh([*NOT_OF_ISTIO, without_sidecar("web")]))
    assert found and not any(found.values())


def test_what_is_going_can_be_left_out():
    going = make_object("v1", "Namespace", "istio-system")
    going["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    kube = FakeMesh([going])
    assert istio_inventory(kube)["Namespace"] == ("istio-system",)
    assert istio_inventory(kube, going=False)["Namespace"] == ()


def test_an_ordinary_sidecar_container_counts_too():
    pod = without_sidecar("old")
    pod["spec"]["containers"].append({"name": "istio-proxy", "image": "proxyv2:1"})
    assert istio_inventory(FakeMesh([pod]))["sidecar"] == ("default/old",)
