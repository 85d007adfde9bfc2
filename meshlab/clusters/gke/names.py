"""What a cluster of ours is called in the cloud: API paths, labels, the names of what GKE makes beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# Labels: lowercase letters, digits, `_` and `-`, at most 63 of them.
MANAGED, RUN, OWNER, EXPIRES = "managed-by", "meshlab-run-id", "meshlab-owner", "meshlab-expires"
US = "meshlab"
POOL = "default-pool"
EXPIRY_FORMAT = "%Y%m%dt%H%Mz"


@dataclass(frozen=True, order=True)
class Place:
    """Where a cluster is. location: a zone or a region."""

    project: str
    location: str
    name: str

    @property
    def parent(self) -> str:
        """The location as the API names it."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def path(self) -> str:
        """The cluster as the API names it."""
        return f"{self.parent}/clusters/{self.name}"

    def names_its_own(self, name: str) -> bool:
        """Whether GKE gives this name to a node, a node's disk or tag, or a firewall of the cluster.

        gke-NAME-default-pool-… and gke-NAME-HASH-…; the begin alone would fit cluster `lab` and cluster `lab-two`.
        """
        return re.match(rf"gke-{re.escape(self.name)}-({POOL}|[0-9a-f]{{8}})-", name) is not None

    def operation(self, name: str) -> str:
        """An operation as the API wants it named: the API itself gives the short name."""
        return name if "/" in name else f"{self.parent}/operations/{name}"


def delete_command(place: Place) -> str:
    """Return the command that removes a cluster."""
    where = "--region" if place.location.count("-") == 1 else "--zone"
    return f"gcloud container clusters delete {place.name} {where} {place.location} --project {place.project}"


def labels(run_id: str, owner: str, expires: datetime) -> dict[str, str]:
    """Make the labels that make a cluster ours, and name who answers for it.

    Args:
        run_id: The run.
        owner: Who started it.
        expires: When the cluster may be removed.

    Returns:
        Label → value.
    """
    return {
        MANAGED: US,
        RUN: label_value(run_id),
        OWNER: label_value(owner),
        EXPIRES: expires.astimezone(UTC).strftime(EXPIRY_FORMAT),
    }


def label_value(text: str) -> str:
    """A text as a label's value: what a label can't hold becomes `-`."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]


def description(run_id: str) -> str:
    """Describe a cluster by the run that makes it. Nobody can change it later, as labels can be changed.

    Source: google.container.v1, ClusterUpdate has no field for it.
    """
    return f"Made by run {label_value(run_id)} of the mesh lab, which removes it; see its labels."


def maker(text: str) -> str | None:
    """Return the run that a cluster's description names; None for a cluster that no run of ours made."""
    found = re.match(r"Made by run (\S+) of the mesh lab\b", text)
    return found[1] if found else None


def is_ours(found: Mapping[str, str]) -> bool:
    """Whether labels say that this project made the thing. Of anything else only what a ledger knows by its id is removed."""
    return found.get(MANAGED) == US and bool(found.get(RUN))


def expiry(found: Mapping[str, str]) -> datetime | None:
    """When a cluster with these labels may be removed; None where they don't say, or say it wrongly."""
    try:
        return datetime.strptime(found.get(EXPIRES, ""), EXPIRY_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def expires_in(hours: float, now: datetime | None = None) -> datetime:
    """The moment `hours` from now."""
    return (now or datetime.now(UTC)) + timedelta(hours=hours)


def load_balancer_name(uid: str) -> str:
    """What GKE calls forwarding rule and target pool of a Service of type LoadBalancer.

    Source: DefaultLoadBalancerName in Kubernetes' cloud-provider: "a" and the uid without dashes, cut at 32.
    """
    return ("a" + uid.replace("-", ""))[:32]
