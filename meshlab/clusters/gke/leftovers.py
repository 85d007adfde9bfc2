"""What a cluster may leave in the project when its controllers could not clean up: listed, never deleted.

Listing needs read permissions only, and what carries no label of ours is not ours to delete; each line of the
listing comes with the command that removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshlab.clusters.gke.api import Rest
from meshlab.clusters.gke.names import Place, load_balancer_name
from meshlab.core.errors import WaitTimeout
from meshlab.core.progress import Progress, Update
from meshlab.core.waiting import Clock, wait
from meshlab.kube.client import Kube

CLUSTER_LABEL, LOCATION_LABEL = (
    "goog-k8s-cluster-name",
    "goog-k8s-cluster-location",
)  # on the disks that GKE makes
RULES, POOLS, FIREWALLS, DISKS = "forwarding rules", "target pools", "firewalls", "disks"
# As remembered, like those of prices.yaml.
RULE_PRICE, DISK_PRICE = "about 0.025 USD an hour each", "about 0.10 USD a GB and month"
GONE_WITHIN = 180.0  # seconds; GKE takes about a minute for a load balancer


def leftovers(rest: Rest, place: Place, uids: Iterable[str] = ()) -> dict[str, tuple[str, ...]]:
    """Kind → names of what belongs to the cluster. uids: of its Services of type LoadBalancer, as recorded.

    By the names that GKE derives from uids, by the nodes' names and tags, and by the cluster's label. Raises CloudError.
    """
    names = {load_balancer_name(uid) for uid in uids}
    pools = [
        pool
        for pool in rest.listed_everywhere("targetPools")
        if pool["name"] in names or any(_of_node(place, link) for link in pool.get("instances") or [])
    ]
    names |= {pool["name"] for pool in pools}
    rules = [
        rule
        for rule in rest.listed_everywhere("forwardingRules")
        if rule["name"] in names or _last(rule.get("target", "")) in names
    ]
    names |= {rule["name"] for rule in rules}
    firewalls = [wall for wall in rest.listed("firewalls", "global") if _is_wall(wall, place, names)]
    disks = [disk for disk in rest.listed_everywhere("disks") if _is_disk(disk, place)]
    return {
        kind: tuple(sorted(each["name"] for each in found))
        for kind, found in ((RULES, rules), (POOLS, pools), (FIREWALLS, firewalls), (DISKS, disks))
    }


def with_prices(found: Mapping[str, tuple[str, ...]]) -> str:
    """Name what was found, with what it costs; firewalls and target pools are free."""
    prices = {RULES: RULE_PRICE, DISKS: DISK_PRICE}
    return "; ".join(
        f"{kind} {', '.join(names)}{f' ({prices[kind]})' if kind in prices else ''}"
        for kind, names in found.items()
        if names
    )


def commands(found: Mapping[str, tuple[str, ...]], place: Place) -> list[str]:
    """How to remove what was found, in the order in which it can go."""
    region = "-".join(place.location.split("-")[:2])
    zone = "ZONE" if place.location == region else place.location  # a regional cluster's disks are in several
    how = {
        RULES: f"gcloud compute forwarding-rules delete {{}} --region {region}",
        POOLS: f"gcloud compute target-pools delete {{}} --region {region}",
        FIREWALLS: "gcloud compute firewall-rules delete {}",
        DISKS: f"gcloud compute disks delete {{}} --zone {zone}",
    }
    return [
        f"{how[kind].format(name)} --project {place.project}" for kind in how for name in found.get(kind, ())
    ]


def _of_node(place: Place, link: str) -> bool:
    return place.names_its_own(_last(link))


def _is_wall(wall: Mapping[str, Any], place: Place, names: set[str]) -> bool:
    tagged = any(map(place.names_its_own, wall.get("targetTags") or []))
    of_balancer = any(wall["name"] in (f"k8s-fw-{name}", f"k8s-{name}-http-hc") for name in names)
    return tagged or of_balancer or place.names_its_own(wall["name"])


def _is_disk(disk: Mapping[str, Any], place: Place) -> bool:
    labels = disk.get("labels") or {}
    here = labels.get(LOCATION_LABEL, place.location) == place.location
    return (labels.get(CLUSTER_LABEL) == place.name and here) or place.names_its_own(disk["name"])


def _last(link: str) -> str:
    return link.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Balancer:
    """A Service of type LoadBalancer. address: empty until the cloud has given one."""

    uid: str
    name: str
    address: str


def balancers(kube: Kube) -> list[Balancer]:
    """Every Service of type LoadBalancer. Raises KubeError."""
    return [
        Balancer(each["metadata"]["uid"], _named(each), _address(each))
        for each in kube.objects("v1", "Service")
        if each["spec"].get("type") == "LoadBalancer"
    ]


def remove_billed(
    kube: Kube, *, progress: Progress, timeout: float = GONE_WITHIN, clock: Clock | None = None
) -> list[str]:
    """Delete the Services of type LoadBalancer and the volumes, and wait for the cloud to take back what they had.

    The cloud's controller works in the cluster: after the cluster nobody would. A claim goes only when no pod uses it,
    so those pods go too. Returns what was still there after `timeout` seconds: the teardown goes on, its last listing
    tells what remains. Raises KubeError.
    """
    for service in _of_type(kube.objects("v1", "Service")):
        progress(Update("remove load balancers", detail=_named(service)))
        kube.delete(
            "v1", "Service", service["metadata"]["name"], service["metadata"]["namespace"], foreground=False
        )
    claims = kube.objects("v1", "PersistentVolumeClaim")
    for claim in claims:
        progress(Update("remove volumes", detail=_named(claim)))
        kube.delete(
            "v1",
            "PersistentVolumeClaim",
            claim["metadata"]["name"],
            claim["metadata"]["namespace"],
            foreground=False,
        )
    _evict(kube, claims)

    def left() -> list[str]:
        services = [f"Service {_named(each)}" for each in _of_type(kube.objects("v1", "Service"))]
        volumes = [
            f"PersistentVolume {each['metadata']['name']}"
            for each in kube.objects("v1", "PersistentVolume")
            if each["spec"].get("persistentVolumeReclaimPolicy", "Delete") == "Delete"
            and each["spec"].get("claimRef")
        ]
        return services + volumes

    try:
        return wait(
            "load balancers and volumes to go",
            left,
            ready=lambda names: not names,
            describe=lambda names: ", ".join(names) or "none left",
            timeout=timeout,
            delay=1.0,
            clock=clock,
            on_change=lambda text: progress(Update("remove load balancers and volumes", detail=text)),
        )
    except WaitTimeout:
        return left()


def _evict(kube: Kube, claims: Sequence[dict[str, Any]]) -> None:
    """Delete the pods that use one of the claims."""
    wanted = {(claim["metadata"]["namespace"], claim["metadata"]["name"]) for claim in claims}
    for pod in kube.objects("v1", "Pod") if wanted else []:
        space = pod["metadata"]["namespace"]
        used = {
            (space, volume["persistentVolumeClaim"]["claimName"])
            for volume in pod["spec"].get("volumes") or []
            if "persistentVolumeClaim" in volume
        }
        if used & wanted:
            kube.delete("v1", "Pod", pod["metadata"]["name"], space, foreground=False)


def _of_type(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in services if each["spec"].get("type") == "LoadBalancer"]


def _address(service: dict[str, Any]) -> str:
    given = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return given[0].get("ip") or given[0].get("hostname") or ""


def _named(document: dict[str, Any]) -> str:
    return f"{document['metadata']['namespace']}/{document['metadata']['name']}"
