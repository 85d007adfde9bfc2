"""What a cluster may leave in the project when its controllers could not clean up: listed, never deleted.

Listing needs read permissions only, and what carries no label of ours is not ours to delete; each line of the
listing comes with the command that removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshlab.clusters.gke.compute import Rest
from meshlab.clusters.gke.names import Place, load_balancer_name

CLUSTER_LABEL, LOCATION_LABEL = (
    "goog-k8s-cluster-name",
    "goog-k8s-cluster-location",
)  # on the disks that GKE makes
RULES, POOLS, FIREWALLS, DISKS = "forwarding rules", "target pools", "firewalls", "disks"


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
