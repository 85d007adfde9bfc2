"""What is a revision's own: what all revisions share is not, nor does a pod that has ended count as a proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.istio.istioctl import Istioctl
from meshlab.istio.revision import (
    proxies_of_revision,
    remove_revision,
    revision_inventory,
    running_proxies,
    tag_refs,
)
from tests.fakes.istio_objects import webhooks
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.kube import make_pod
from tests.fakes.mesh import make_object
from tests.fakes.rollout import RollingMesh, control_plane, two_namespaces, workload

NEW, SYSTEM = "1-31-0", "istio-system"
ADMISSION, RBAC = "admissionregistration.k8s.io/v1", "rbac.authorization.k8s.io/v1"


def of_component(made: dict[str, Any], component: str, revision: str = NEW) -> dict[str, Any]:
    """An object as istioctl labels it when it installs a revision."""
    made["metadata"]["labels"] = {"operator.istio.io/component": component, "istio.io/rev": revision}
    return made


SHARED = (
    of_component(make_object("v1", "ServiceAccount", "istio-reader-service-account", SYSTEM), "Base"),
    of_component(
        make_object(ADMISSION, "ValidatingWebhookConfiguration", "istiod-default-validator"), "Base"
    ),
    of_component(workload("istio-cni-node", SYSTEM, "DaemonSet"), "Cni"),
    of_component(make_object(RBAC, "ClusterRole", "istio-cni"), "Cni"),
    of_component(workload("ztunnel", SYSTEM, "DaemonSet"), "Ztunnel"),
    of_component(workload(f"istio-inner-{NEW}", SYSTEM), "IngressGateways"),
)


def with_shared() -> RollingMesh:
    mesh = two_namespaces()
    for each in (*control_plane(NEW, "1.31.0"), *SHARED):
        mesh.put(each)
    return mesh


def names(mesh: RollingMesh) -> set[str]:
    return {name for *_, name in mesh.store}


def test_what_every_revision_uses_stays_when_one_is_taken_out() -> None:
    mesh = with_shared()
    removal = remove_revision(mesh, NEW, SYSTEM, timeout=5)
    assert removal.before["Deployment"] == (f"{SYSTEM}/istiod-{NEW}",)
    assert removal.before["MutatingWebhookConfiguration"] == (f"istio-sidecar-injector-{NEW}",)
    assert not any(revision_inventory(mesh, NEW, SYSTEM).values())
    assert {each["metadata"]["name"] for each in SHARED} < names(mesh)
    assert "istiod" in names(mesh)


def test_the_control_planes_own_objects_and_a_tags_webhook_are_its_revisions() -> None:
    mesh = with_shared()
    mesh.put(of_component(make_object(RBAC, "RoleBinding", "pilot-x", SYSTEM), "Pilot"))
    mesh.put(webhooks(NEW, tag="prod"))
    found = revision_inventory(mesh, NEW, SYSTEM)
    assert found["RoleBinding"] == (f"{SYSTEM}/pilot-x",)
    assert "istio-revision-tag-prod" in found["MutatingWebhookConfiguration"]


@pytest.mark.parametrize("shared", [True, False])
def test_istioctl_is_not_asked_where_it_would_take_something_shared_along(shared: bool) -> None:
    mesh, said = two_namespaces(), FakeIstioctl({"uninstall": Said("done")})
    if shared:
        mesh.put(of_component(workload("istio-cni-node", SYSTEM, "DaemonSet"), "Cni", "default"))
    removal = remove_revision(mesh, "default", SYSTEM, Istioctl(Path("istioctl"), runner=said), timeout=5)
    assert bool(said.commands) is not shared
    assert not removal.after["Deployment"] and ("istio-cni-node" in names(mesh)) is shared


def test_an_istioctl_that_fails_leaves_nothing_behind() -> None:
    mesh, said = two_namespaces(), FakeIstioctl({"uninstall": Said("", "it does not answer", 1)})
    removal = remove_revision(mesh, "default", SYSTEM, Istioctl(Path("istioctl"), runner=said), timeout=5)
    assert "does not answer" in removal.output
    assert removal.before["Deployment"] and not removal.after["Deployment"]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_has_no_proxy_that_runs(phase: str) -> None:
    mesh = two_namespaces()
    before = proxies_of_revision(mesh, "default")
    mesh.put(make_pod("job-1", namespace="shop", labels={"istio.io/rev": "default"}, phase=phase))
    assert proxies_of_revision(mesh, "default") == before
    assert "job-1" not in {pod.name for pod in running_proxies(mesh)}
    mesh.put(make_pod("job-1", namespace="shop", labels={"istio.io/rev": "default"}))
    assert proxies_of_revision(mesh, "default") == tuple(sorted((*before, "shop/job-1"))), "the control"


def test_all_that_setting_a_tag_changes_is_named_whether_it_is_there_or_not() -> None:
    mesh = two_namespaces()
    mesh.put(make_object(ADMISSION, "MutatingWebhookConfiguration", "somebody-elses"))
    found = {(ref.kind, ref.namespace, ref.name) for ref in tag_refs(mesh, ["default"], SYSTEM)}
    assert found == {
        ("MutatingWebhookConfiguration", None, "istio-sidecar-injector"),
        ("MutatingWebhookConfiguration", None, "istio-revision-tag-default"),
        ("ValidatingWebhookConfiguration", None, "istiod-default-validator"),
        ("Service", SYSTEM, "istiod-revision-tag-default"),
    }
