"""The ways to plant a fault: apply objects of `manifests/faults.yaml`, change what is there, or cut and stop something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshlab import manifests
from meshlab.app import bookinfo
from meshlab.core.errors import ClusterError, KubeError
from meshlab.faults.fault import Fault, Site
from meshlab.faults.restart import restart
from meshlab.faults.scraping import wait_not_scraped
from meshlab.kube.apply import ObjectRef
from meshlab.kube.pods import PodSummary

Plant = Callable[[Site], None]


def plant_objects(name: str, **words: str) -> Plant:
    """Plant the objects that `meshlab/manifests/faults.yaml` holds for a fault; words: more placeholders of it."""

    def plant(site: Site) -> None:
        for each in _objects(name, site, **words):
            site.changes.apply(each)

    return plant


def plant_patches(name: str) -> Plant:
    """Change fields of objects that are there, as `meshlab/manifests/faults.yaml` names them."""

    def plant(site: Site) -> None:
        for each in _objects(name, site):
            site.changes.patch(_ref(each), {"spec": each["spec"]})

    return plant


def plant_replaced(name: str) -> Plant:
    """Put objects in the place of those of the same names, where what differs can't be changed in them."""

    def plant(site: Site) -> None:
        for each in _objects(name, site):
            ref = _ref(each)
            if not site.changes.delete(ref):
                raise KubeError(f"can't replace {ref}: it is not there", status=404)
            site.changes.apply(each)

    return plant


def plant_for_new(name: str, workload: bookinfo.Workload) -> Plant:
    """Plant objects that judge new connections only, and make a workload's pods again, so that none is older."""

    def plant(site: Site) -> None:
        plant_objects(name)(site)
        restart(site.kube, site.namespace, workload.selector)

    return plant


def plant_at_address(name: str) -> Plant:
    """Plant an object that takes the address of details."""

    def plant(site: Site) -> None:
        found = site.kube.get("v1", "Service", bookinfo.DETAILS.app, site.namespace)
        if found is None:
            raise KubeError(f"there is no Service {bookinfo.DETAILS.app} in {site.namespace}", status=404)
        site.changes.apply(*_objects(name, site, ADDRESS=found["spec"]["clusterIP"]))

    return plant


def object_of(fault: Fault, namespace: str) -> str | None:
    """Name the configuration object that a fault plants, as the causes of a red check would.

    Args:
        fault: The fault.
        namespace: The app's.

    Returns:
        Kind namespace/name, in which `*` stands for any text; None where it plants none, but cuts or ends something, or
        changes the cluster itself: causes name what selects and routes traffic.
    """
    words = {"NAMESPACE": namespace, "SYSTEM": "*"}  # wherever the control plane is
    if fault.culprit:
        named = fault.culprit
        for word, text in words.items():
            named = named.replace(word, text)
        return named
    found = _listed(manifests.read("faults", **words).get(fault.name, []))
    if not found or "namespace" not in found[0]["metadata"]:
        return None
    return f"{found[0]['kind']} {found[0]['metadata']['namespace']}/{found[0]['metadata']['name']}"


def pod_of(site: Site, workload: bookinfo.Workload) -> PodSummary:
    """Find the workload's Ready pod.

    Args:
        site: Where to look.
        workload: The workload.

    Returns:
        The pod.

    Raises:
        KubeError: There is none (retryable).
    """
    for pod in site.kube.pods(site.namespace, workload.selector):
        if pod.is_ready and not pod.deleting:
            return pod
    raise KubeError(f"no Ready pod of {workload.name} in {site.namespace}", retryable=True)


def not_scraped(site: Site) -> None:
    """Prometheus is told not to scrape productpage's pod."""
    pod = pod_of(site, bookinfo.PRODUCTPAGE)
    off = {"metadata": {"annotations": {"prometheus.io/scrape": "false"}}}
    site.changes.patch(ObjectRef("v1", "Pod", pod.namespace, pod.name), off)
    wait_not_scraped(site.kube, site.config, pod.name)


def no_sidecar(site: Site) -> None:
    """The pods of details are made without a sidecar."""
    # An annotation, not the label of the same name: a pod that opts out by label is expected to have none.
    off = {"spec": {"template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}}}}
    site.changes.patch(ObjectRef("apps/v1", "Deployment", site.namespace, bookinfo.DETAILS.name), off)


def no_istiod(site: Site) -> None:
    """Scale istiod to 0."""
    site.changes.patch(
        ObjectRef("apps/v1", "Deployment", site.mesh.system_namespace, site.mesh.istiod),
        {"spec": {"replicas": 0}},
    )


def cut_edge(site: Site) -> None:
    """A firewall rule cuts the edge from productpage to details."""
    if site.firewall is None:
        raise ClusterError("this cluster's nodes can't be entered", remedy="plant it on the local cluster")
    caller, called = pod_of(site, bookinfo.PRODUCTPAGE), pod_of(site, bookinfo.DETAILS)
    site.firewall.cut(caller.node, caller.ip, called.ip, bookinfo.PORT)


def _ref(found: Mapping[str, Any]) -> ObjectRef:
    meta = found["metadata"]
    return ObjectRef(found["apiVersion"], found["kind"], meta["namespace"], meta["name"])


def _objects(name: str, site: Site, **more: str) -> list[dict[str, Any]]:
    words = {
        **more,
        "NAMESPACE": site.namespace,
        "SYSTEM": site.mesh.system_namespace,
        "TRUST_DOMAIN": site.mesh.trust_domain,
        "CLUSTER_DOMAIN": site.mesh.cluster_domain,
    }
    return _listed(manifests.read("faults", **words)[name])


def _listed(found: Mapping[str, Any] | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return found if isinstance(found, list) else [dict(found)]
