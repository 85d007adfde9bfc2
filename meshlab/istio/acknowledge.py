"""When a change of mesh configuration is really in the proxies.

istiod waits until changes come to rest before it pushes (100 ms to 10 s), so SYNCED right after an apply only
says that nothing was sent yet. Here, in this order:

1. istiod's store (/debug/configz of every istiod) has each Istio object of its own namespace, of the root namespace
   and of the pods' namespaces in the version that the API server has;
2. a sentinel, an EnvoyFilter that adds a cluster without endpoints, is applied where the pods are, and every
   proxy shows that cluster: the push that carried it was made from a store that had the change, and it has
   begun to send every type (clusters, endpoints, listeners, then routes);
3. the sentinel is deleted, and no proxy shows the cluster: istiod pushes to a proxy one after the other, so
   all types of the first push have been sent;
4. istiod has an acknowledgement for the last thing that it sent of each type, and no listener or cluster of
   the proxies is still warming.

A new cluster touches no listener, so no connection is drained and no counter lost. Secrets and Services reach
istiod by other ways than its configuration store: step 1 does not see them.

Sources: pilot/pkg/xds/{discovery,pushqueue,delta,statusgen,debug}.go of Istio.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from meshlab.core.errors import IstioError
from meshlab.core.waiting import Clock, SystemClock, wait
from meshlab.envoy.admin import ISTIOD_PORT, Pages
from meshlab.istio.control_plane import istiod_pods, objects_if_served, with_sidecar
from meshlab.istio.injection import REVISION_LABEL
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh_config import root_namespaces
from meshlab.istio.proxies import AT_ONCE, ask_proxies, opened, wait_synced
from meshlab.istio.syncz import proxy_states
from meshlab.kube.changes import MANAGED_BY, MANAGER
from meshlab.kube.client import Kube
from meshlab.kube.pods import PodSummary

FILTER_API, FILTER = "networking.istio.io/v1alpha3", "EnvoyFilter"
SENTINEL_LABEL = "meshlab/sentinel"
# What istiod keeps in its configuration store, as the API server serves it.
STORED = (
    *(("networking.istio.io/v1", kind) for kind in ("VirtualService", "DestinationRule", "Gateway")),
    *(("networking.istio.io/v1", kind) for kind in ("ServiceEntry", "Sidecar", "WorkloadEntry")),
    *(("security.istio.io/v1", kind) for kind in ("PeerAuthentication", "RequestAuthentication")),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("telemetry.istio.io/v1", "Telemetry"),
    (FILTER_API, FILTER),
)
DELAY = 0.1  # seconds between looks
Key = tuple[str, str, str]  # kind, namespace, name


@dataclass(frozen=True)
class Acknowledged:
    """Proxies (`pod.namespace`) that run with the configuration as it was at the call. seconds: it took."""

    proxies: tuple[str, ...]
    seconds: float


def wait_acknowledged(
    kube: Kube,
    istioctl: Istioctl,
    pods: Sequence[PodSummary],
    *,
    timeout: float = 60,
    clock: Clock | None = None,
    pages: Pages | None = None,
) -> Acknowledged:
    """Wait until the proxies of some pods run with what was just changed in the mesh's configuration.

    Pods without a proxy are passed over; at least one must have one. It writes one labelled EnvoyFilter per
    namespace of the pods, for about a second.

    Args:
        kube: Client of the cluster.
        istioctl: Runs istioctl on the mesh.
        pods: The pods whose proxies are awaited.
        timeout: Seconds for each of the steps.
        clock: Of the wait; the machine's where not given.
        pages: Where the pages of istiod and the proxies come from, port-forwards by default.

    Returns:
        How long it took, and who acknowledged.

    Raises:
        WaitTimeout: A proxy does not acknowledge; its text names it.
        IstioError: There is no istiod, or no pod has a proxy.
        QueryError: A page does not answer.
    """
    proxied = with_sidecar(pods)
    if not proxied:
        named = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods) or "no pod is Ready"
        raise IstioError(f"none of these pods has a proxy: {named}", remedy="look at check istio.injection")
    clock = clock or SystemClock()
    start = clock.now()
    with opened(kube, pages) as source:
        names = dict.fromkeys(pod.namespace for pod in proxied)
        _await_store(kube, source, set(names), timeout, clock)
        sentinel = f"meshlab-sentinel-{secrets.token_hex(4)}"
        try:
            for namespace in names:
                kube.server_side_apply(sentinel_filter(sentinel, namespace), namespace=namespace)
            _await_cluster(source, proxied, sentinel, True, timeout, clock)
        finally:
            for namespace in names:
                kube.delete(FILTER_API, FILTER, sentinel, namespace, foreground=False)
        _await_cluster(source, proxied, sentinel, False, timeout, clock)
        proxies = tuple(f"{pod.name}.{pod.namespace}" for pod in proxied)
        states = partial(proxy_states, kube, istioctl, proxies, source)
        wait_synced(states, proxies, timeout=timeout, clock=clock)
        _await_warm(source, proxied, timeout, clock)
    return Acknowledged(proxies, clock.now() - start)


def sentinel_filter(name: str, namespace: str) -> dict[str, Any]:
    """Return an EnvoyFilter that adds a cluster of its own name, without endpoints, to the proxies of a namespace."""
    cluster = {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name},
    }
    patch = {
        "applyTo": "CLUSTER",
        "match": {"context": "ANY"},
        "patch": {"operation": "ADD", "value": cluster},
    }
    labels = {MANAGED_BY: MANAGER, SENTINEL_LABEL: "true"}
    return {
        "apiVersion": FILTER_API,
        "kind": FILTER,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"configPatches": [patch]},
    }


def remove_sentinels(kube: Kube, namespace: str | None = None) -> tuple[str, ...]:
    """Delete sentinels that a killed run left.

    Args:
        kube: Client of the cluster.
        namespace: Of one namespace; of all where None.

    Returns:
        Their names.
    """
    found = objects_if_served(kube, FILTER_API, FILTER, namespace, selector=f"{SENTINEL_LABEL}=true")
    for each in found:
        meta = each["metadata"]
        kube.delete(FILTER_API, FILTER, meta["name"], meta["namespace"], foreground=False)
    return tuple(each["metadata"]["name"] for each in found)


def _await_store(kube: Kube, pages: Pages, namespaces: Set[str], timeout: float, clock: Clock) -> None:
    """Until every istiod's store has what the API server has in these namespaces and in those for the whole mesh."""
    istiods = istiod_pods(kube)
    if not istiods:
        raise IstioError("no istiod is Ready", remedy="look at the pods of istio-system")
    namespaces |= root_namespaces(kube, {pod.namespace for pod in istiods})

    def behind() -> list[str]:
        wanted = _versions_of(kube, namespaces)
        found = []
        for pod in istiods:
            stored = pages.json(pod.namespace, pod.name, ISTIOD_PORT, "/debug/configz")
            has = _versions_in(stored, namespaces)
            found += [
                f"{pod.name}: {' '.join(key)}"
                for key in sorted(wanted.keys() | has.keys())
                if wanted.get(key) != has.get(key)
            ]
        return found

    wait(
        "istiod to see the changed configuration",
        behind,
        ready=lambda found: not found,
        describe=lambda found: ", ".join(found[:5]) or "nothing missing",
        timeout=timeout,
        delay=DELAY,
        remedy="istiod's log tells whether it reaches the API server",
        clock=clock,
    )


def _versions_of(kube: Kube, namespaces: Set[str]) -> dict[Key, str]:
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        listed = pool.map(lambda api: objects_if_served(kube, *api), STORED)
        return _versions_in([each for found in listed for each in found], namespaces)


def _versions_in(documents: Sequence[Mapping[str, Any]], namespaces: Set[str]) -> dict[Key, str]:
    """The versions of the objects that every istiod keeps.

    One that is labelled for a revision is kept by that revision's only, and one without a version was made by istiod itself.
    A Gateway of Gateway API is another kind than Istio's of that name.
    """
    kinds = {(api_version.partition("/")[0], kind) for api_version, kind in STORED}
    return {
        (each["kind"], meta["namespace"], meta["name"]): meta["resourceVersion"]
        for each in documents
        if (each["apiVersion"].partition("/")[0], each["kind"]) in kinds
        and (meta := each["metadata"]).get("namespace") in namespaces
        and meta.get("resourceVersion")
        and REVISION_LABEL not in (meta.get("labels") or {})
    }


def _await_cluster(
    pages: Pages, pods: Sequence[PodSummary], cluster: str, wanted: bool, timeout: float, clock: Clock
) -> None:
    """Until every proxy has (or no longer has) a cluster. A proxy that was seen is not asked again."""
    pending = list(pods)

    def lagging() -> list[str]:
        asked = {"resource": "dynamic_active_clusters", "name_regex": cluster}
        dumps = ask_proxies(pages, pending, "/config_dump", asked)
        pending[:] = [pod for pod, dump in dumps if _has_cluster(dump, cluster) is not wanted]
        return [f"{pod.name}.{pod.namespace}" for pod in pending]

    wait(
        f"{len(pods)} proxies to {'take' if wanted else 'drop'} the sentinel {cluster}",
        lagging,
        ready=lambda late: not late,
        describe=lambda late: f"not yet: {', '.join(late)}" if late else "all",
        timeout=timeout,
        delay=DELAY,
        remedy="the istio-proxy container's log names what it rejected, istiod's what it could not send",
        clock=clock,
    )


def _has_cluster(dump: Mapping[str, Any], name: str) -> bool:
    return name in [each["cluster"]["name"] for each in dump.get("configs") or () if "cluster" in each]


def _await_warm(pages: Pages, pods: Sequence[PodSummary], timeout: float, clock: Clock) -> None:
    """Until no proxy holds a listener that it has taken and does not use yet."""

    def warming() -> list[str]:
        asked = {"resource": "dynamic_listeners", "mask": "name,warming_state.version_info"}
        return [
            f"{pod.name}: {each.get('name')}"
            for pod, dump in ask_proxies(pages, pods, "/config_dump", asked)
            for each in dump.get("configs") or ()
            if each.get("warming_state")
        ]

    wait(
        f"the listeners of {len(pods)} proxies to be in use",
        warming,
        ready=lambda found: not found,
        describe=lambda found: f"warming: {', '.join(found)}" if found else "none is warming",
        timeout=timeout,
        delay=DELAY,
        remedy="a listener warms until its secrets and routes have come: the proxy's log names them",
        clock=clock,
    )
