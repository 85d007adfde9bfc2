"""`--plan`: what a run on GKE would send to Google, in its order, and what that may cost. Only reads are made."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.cloud.container_v1.types import CreateClusterRequest, SetLabelsRequest

from meshlab.clusters.gke import names
from meshlab.clusters.gke.creation import WELL
from meshlab.clusters.gke.preflight import PERMISSIONS, Found
from meshlab.clusters.gke.prices import estimate, prices
from meshlab.clusters.gke.request import REGIONAL_ZONES, cluster_of, creation_of, labelling_of
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import Problem

READ, WRITE = "reads", "writes"
LATER = (names.RUN, names.EXPIRES)  # labels whose values are known when the run begins
LEFTOVERS = ("targetPools", "forwardingRules", "firewalls", "disks")  # in the order in which they are listed


@dataclass(frozen=True)
class Call:
    """One call that a run makes.

    Attributes:
        name: A method of the GKE API, or method and path of a REST call.
        why: What it is for.
        kind: `reads` or `writes`.
        until: Until when it is repeated; empty for a call that is made once.
    """

    name: str
    why: str
    kind: str = READ
    until: str = ""

    def shown(self) -> dict[str, str]:
        """The call as a part of the plan's YAML."""
        return {"call": self.name, "what": self.kind, "why": self.why} | (
            {"repeated_until": self.until} if self.until else {}
        )


def plan(settings: GkeSettings, found: Found, problems: Sequence[Problem]) -> dict[str, Any]:
    """Say what a run with these settings would send, as plain values for YAML.

    Args:
        settings: What is asked for, with a project.
        found: What the preflight has learned.
        problems: Everything that would keep the run from beginning.

    Returns:
        Heading → values: where, preflight, cost (US dollars, hours), calls in their order, request.
    """
    assert settings.project is not None
    place = names.Place(settings.project, settings.zone, settings.name)
    return {
        "where": {
            "project": place.project,
            "location": place.location,
            "cluster": place.name,
            "kubernetes": found.version,
        },
        "preflight": {
            "permissions": {
                "needed": len(PERMISSIONS),
                "missing": list(found.missing) if found.missing is not None else None,
            },
            "quota": [
                {"metric": each.metric, "of": each.of, "needs": each.needs, "free": each.free}
                for each in found.quotas
            ],
            "problems": [str(each) for each in problems],
        },
        "cost": cost(settings),
        "calls": {stage: [call.shown() for call in made] for stage, made in calls(settings, found)},
        **request(settings, place, found),
    }


def cost(settings: GkeSettings) -> dict[str, Any]:
    """The most that the cluster costs until it expires, and what that assumes. None for what is not known."""
    table = prices()
    most = estimate(settings, REGIONAL_ZONES if settings.regional else 1)
    assumed = [f"prices of {table.date}: {table.source}"]
    if settings.hourly_price is not None:
        assumed.append(f"{settings.hourly_price:g} USD an hour of a machine, as given by gke.hourly_price")
    elif settings.spot:
        assumed.append(
            f"spot nodes at {table.spot_factor:g} of the list price, the least discount that Google's page named; "
            "newer pages name none"
        )
    if settings.region != table.base_region:
        assumed.append(
            f"{table.dearest_region_factor:g} times the price of {table.base_region}, as no region is dearer"
        )
    if settings.regional:
        assumed.append(f"nodes in {REGIONAL_ZONES} zones of the region")
    return {
        "nodes": most.nodes if most else None,
        "usd_an_hour": round(most.hourly, 4) if most else None,
        "hours_until_it_expires": settings.hours_to_live,
        "usd_at_most": round(most.total, 2) if most else None,
        "ceiling_usd": settings.cost_ceiling,
        "assumptions": [
            *assumed,
            f"nodes, {settings.disk_gb} GB of disk each and the cluster's fee; no load balancer (0.025 USD an hour), "
            "no traffic, no discount, no free tier",
            "somebody removes it at the latest when it expires: the run at its end, else a teardown; after that "
            "it goes on costing",
        ],
    }


def request(settings: GkeSettings, place: names.Place, found: Found) -> dict[str, Any]:
    """The body of the call that makes or labels the cluster, as REST and gcloud know it.

    Args:
        settings: What is asked for.
        place: Where.
        found: What the preflight has learned.

    Returns:
        The call's name → its body, None where it is not known; and labels and fields whose values are not known yet.
    """
    labels = names.labels("RUN_ID", getpass.getuser(), names.expires_in(settings.hours_to_live))
    body: CreateClusterRequest | SetLabelsRequest | None = None
    name = "CreateCluster"
    if adopts(found):
        assert found.cluster is not None
        name, body = "SetLabels", labelling_of(place, found.cluster, labels)
    elif found.asked is not None:
        body = creation_of(place, cluster_of(settings, found.asked, labels))
    later = [*LATER, "description"] if name == "CreateCluster" else list(LATER)
    return {name: as_plain(body) if body is not None else None, "set_when_the_run_begins": later}


def as_plain(body: CreateClusterRequest | SetLabelsRequest) -> dict[str, Any]:
    """A request as plain values, by the names that REST and its documentation use; defaults are left out."""
    text = type(body).to_json(body, always_print_fields_with_no_presence=False, use_integers_for_enums=False)
    content: dict[str, Any] = json.loads(text)
    return content


def adopts(found: Found) -> bool:
    """Whether the run would use a cluster of ours that is there."""
    return found.cluster is not None and found.cluster.status in WELL


def calls(settings: GkeSettings, found: Found) -> Iterator[tuple[str, list[Call]]]:
    """Give every call of a run in its order, stage by stage.

    Args:
        settings: What is asked for, with a project.
        found: What the preflight has learned.

    Yields:
        The stage, and its calls.
    """
    yield "preflight, made just now and once more when the run begins", _preflight(settings, found)
    yield "creation", list(_creation(found))
    yield (
        "the lab",
        [
            Call("GET https://ENDPOINT/version", "wait for the API server", until="it answers"),
            Call("GetCluster", "show the cluster as gcloud does, and compare it with what was asked for"),
            Call("Kubernetes API", "Istio, Bookinfo, addons, and the checks; nothing of Google's API", WRITE),
        ],
    )
    yield (
        "teardown",
        [
            Call("GetCluster", "is it there, and this run's: by its label, or by its id"),
            *_leftovers(settings, "what is there before: the control of the last look"),
            Call("GetCluster", "is it there, and this run's"),
            Call(
                "Kubernetes API", "delete Services of type LoadBalancer and volumes: both are paid for", WRITE
            ),
            *_removal(),
            *_leftovers(settings, "does anything remain"),
            Call("GetCluster", "the last look: it is gone"),
            *_leftovers(settings, "the last look: nothing remains"),
        ],
    )


def _preflight(settings: GkeSettings, found: Found) -> list[Call]:
    compute = f"GET compute/v1/projects/{settings.project}"
    zone = found.zone or settings.zone
    return [
        Call(f"POST v1/projects/{settings.project}:testIamPermissions", "which permissions are there"),
        Call("GetCluster", "is there a cluster of that name, and whose"),
        Call("GetServerConfig", "which versions and channels the location has"),
        Call(f"{compute}/zones", "is the location there, and up"),
        Call(f"{compute}/regions/{settings.region}", "the region's quotas"),
        Call(f"{compute}/zones", "in which zone to ask for the machine type"),
        Call(f"{compute}/zones/{zone}/machineTypes/{settings.machine_type}", "is it there; its CPUs"),
        Call(compute, "the project's quotas"),
        Call(f"{compute}/global/networks/{settings.network}", "is the network there"),
    ]


def _creation(found: Found) -> Iterator[Call]:
    yield Call("GetCluster", "is there one of that name: ours is adopted, another's is refused")
    if found.cluster is not None:
        yield Call("ListOperations", "wait for what goes on with it", until="nothing does")
        yield Call("GetCluster", "how it is after that")
    if adopts(found):
        yield Call("SetLabels", "label it as this run's", WRITE)
        yield Call("GetOperation", "follow that", until="it is DONE")
        yield Call("GetCluster", "the labels are there")
        return
    if found.cluster is not None:
        yield from _removal()
    yield Call("GetServerConfig", "the full version that is asked for")
    yield Call("CreateCluster", "make the cluster and its nodes: from here on it costs", WRITE)
    yield Call("GetCluster", "its id, for the ledger")
    yield Call("GetOperation", "follow the creation", until="it is DONE")
    yield Call("GetCluster", "wait for its status", until="it is RUNNING")


def _removal() -> Iterator[Call]:
    yield Call("ListOperations", "wait for what goes on with it", until="nothing does")
    yield Call("DeleteCluster", "delete the cluster with its nodes, their disks and firewall rules", WRITE)
    yield Call("GetOperation", "follow the deletion", until="it is DONE")
    yield Call("GetCluster", "wait for its end", until="it is not found")


def _leftovers(settings: GkeSettings, why: str) -> Iterator[Call]:
    compute = f"GET compute/v1/projects/{settings.project}"
    for kind in LEFTOVERS:
        yield Call(f"{compute}/{'global' if kind == 'firewalls' else 'aggregated'}/{kind}", why)
