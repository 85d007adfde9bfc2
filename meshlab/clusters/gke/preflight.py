"""What can be known to keep a GKE cluster from being made, before anything is. All of it at once; nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke import access
from meshlab.clusters.gke.api import GkeApi, Rest, zones_of
from meshlab.clusters.gke.api_errors import quota_remedy, shortfall
from meshlab.clusters.gke.cluster import seams_of
from meshlab.clusters.gke.comparison import AUTOPILOT, differences
from meshlab.clusters.gke.creation import WELL
from meshlab.clusters.gke.credential import credentials_of, refreshed
from meshlab.clusters.gke.names import RUN, is_ours
from meshlab.clusters.gke.prices import price_problems
from meshlab.clusters.gke.record import ClusterRecord
from meshlab.clusters.gke.request import (
    REGIONAL_ZONES,
    Version,
    order,
    resolve,
    vpc_native,
)
from meshlab.config.settings import GkeSettings, Machine
from meshlab.core.errors import CloudError, Problem

log = logging.getLogger(__name__)
# What a run does, by the permission that it needs; the role in docs/gke.md has exactly these.
PERMISSIONS = (
    "container.clusters.create",
    "container.clusters.delete",
    "container.clusters.get",
    "container.clusters.getCredentials",
    "container.clusters.list",
    "container.clusters.update",
    "container.operations.get",
    "container.operations.list",
    "compute.disks.list",
    "compute.firewalls.list",
    "compute.forwardingRules.list",
    "compute.machineTypes.get",
    "compute.networks.get",
    "compute.projects.get",
    "compute.regions.get",
    "compute.targetPools.list",
    "compute.zones.list",
)
LONGEST_NAME = (
    24  # letters: of a longer one GKE's own names of instances, disks and firewalls have only a part
)
ALL_CPUS = "CPUS_ALL_REGIONS"  # the project-wide quota that clusters meet
SPOT_CPUS = "PREEMPTIBLE_CPUS"
PREFLIGHT_RETRY = 10.0  # seconds; whoever typed a command is waiting
WHERE = "--cluster gke"
NO_PROJECT = Problem("--project", "is needed with --cluster gke", "name the project that pays")


@dataclass(frozen=True)
class Quota:
    """One quota that the cluster needs a part of.

    Attributes:
        metric: As Google calls it.
        of: The region, or the project.
        needs: How much the cluster takes.
        limit: How much there is.
        free: How much of it is left.
    """

    metric: str
    of: str
    needs: float
    limit: float
    free: float

    @property
    def problem(self) -> Problem | None:
        """What is short, and the flag that mends it; None where it is enough."""
        if self.needs <= max(self.free, 0):
            return None
        short = self.needs - self.free
        said = shortfall(self.metric, str(self.needs), str(short), str(self.limit), str(self.free))
        remedy = f"{quota_remedy(self.metric)}; or ask Google for more quota"
        return Problem(f"quota of {self.of}", said, remedy)


@dataclass(frozen=True)
class Found:
    """What the preflight learns.

    Attributes:
        problems: What keeps a cluster from being made.
        version: The Kubernetes that would be made, or runs in the cluster of ours; None where it is not known.
        offered: Kubernetes versions that the location has, the newest first.
        asked: The version as it would be asked for; None where it is not known.
        cluster: The cluster of that name that is there; None for none, or where it is not known.
        looked: Whether the cluster could be looked for.
        missing: Permissions that are missing; None where they are not known.
        quotas: What the cluster needs of the quotas that are known.
        zone: A zone in which nodes would be; None where it is not known.
    """

    problems: list[Problem]
    version: str | None = None
    offered: tuple[str, ...] = ()
    asked: Version | None = None
    cluster: Cluster | None = None
    looked: bool = False
    missing: tuple[str, ...] | None = None
    quotas: tuple[Quota, ...] = ()
    zone: str | None = None


@dataclass
class _Learned:
    """What the questions learn, while they are asked; the fields are those of `Found`."""

    version: str | None = None
    offered: tuple[str, ...] = ()
    asked: Version | None = None
    cluster: Cluster | None = None
    looked: bool = False
    missing: tuple[str, ...] | None = None
    quotas: list[Quota] = field(default_factory=list)
    zone: str | None = None


def examine(settings: GkeSettings, machine: Machine | None = None) -> Found:
    """Find every problem of a GKE cluster with these settings; nothing is written.

    Args:
        settings: What is asked for.
        machine: Whose ledgers tell which living run holds it.

    Returns:
        The problems, and the Kubernetes that the cluster would have.
    """
    if settings.project is None:
        return Found([NO_PROJECT, *access.endpoint_problems(settings)])
    found = access.endpoint_problems(settings)
    if len(settings.name) > LONGEST_NAME:
        what = f"has {len(settings.name)} letters; what such a cluster leaves behind could not be told from others'"
        found.append(Problem(f"--set gke.name={settings.name}", what, f"use {LONGEST_NAME} letters at most"))
    if settings.autopilot:
        found.append(Problem("--set gke.autopilot", AUTOPILOT, "leave it out: nodes of our own are made"))
    zones = REGIONAL_ZONES if settings.regional else 1
    found += price_problems(settings, zones)
    if access.endpoint_problems(settings):
        return Found(found)
    quick = settings.model_copy(update={"retry_seconds": min(settings.retry_seconds, PREFLIGHT_RETRY)})
    seams = seams_of(quick)
    try:
        refreshed(credentials_of(access.token_uri(settings)))
        api, rest = seams.api(), seams.rest()
    except CloudError as problem:
        return Found([*found, _as_problem(WHERE, problem)])  # without credentials nothing can be asked
    learned = _Learned()
    questions: list[Callable[[], Iterator[Problem]]] = [
        lambda: _permissions(rest, learned),
        lambda: _there(api, settings, machine, learned),
        lambda: _version(api, settings, learned),
        lambda: _zone(rest, settings),
        lambda: _machines_and_quota(rest, settings, zones, learned),
        lambda: _network(rest, settings),
    ]
    for question in questions:
        try:
            found += question()
        except CloudError as problem:
            found.append(_as_problem(WHERE, problem))
    facts = {**vars(learned), "quotas": tuple(learned.quotas)}
    return Found(_once(found), **facts)


def _permissions(rest: Rest, learned: _Learned) -> Iterator[Problem]:
    missing = learned.missing = tuple(sorted(set(PERMISSIONS) - rest.granted(PERMISSIONS)))
    if missing:
        what = f"these credentials lack {len(missing)} permissions in {rest.project}: {', '.join(missing)}"
        yield Problem("--project", what, "let an administrator grant the role in docs/gke.md")


def _there(
    api: GkeApi, settings: GkeSettings, machine: Machine | None, learned: _Learned
) -> Iterator[Problem]:
    """A cluster of that name that can't be adopted."""
    there, where = api.cluster(), f"--set gke.name={settings.name}"
    learned.cluster, learned.looked = there, True
    if there is None:
        return
    if not is_ours(there.resource_labels):
        what = f"there is a cluster of that name in {there.location} that this project did not make"
        remedy = "choose another name"
        if there.autopilot.enabled:
            what += f"; it is on Autopilot, and {AUTOPILOT}"
        else:
            remedy += ", or use that cluster as it is: --cluster existing --context NAME"
        yield Problem(where, what, remedy)
        return
    run = there.resource_labels[RUN]
    remove = f"remove it: python -m flows.teardown --run {run}"
    holder = ClusterRecord(api.place, machine, "").held_by(there) if machine is not None else None
    if holder is not None:
        yield Problem(
            where,
            f"run {holder} of this machine holds it and goes on",
            "wait for its end, or choose another name",
        )
    elif there.status in WELL and (wrong := differences(there, settings)):
        yield Problem(
            where,
            f"the cluster of run {run} is there, with {' and '.join(wrong)}",
            f"ask for that, or {remove}",
        )


def _version(api: GkeApi, settings: GkeSettings, learned: _Learned) -> Iterator[Problem]:
    """The Kubernetes that the cluster will have, or has."""
    there = api.cluster()
    config = api.server_config()
    learned.offered = tuple(sorted(config.valid_master_versions, key=order, reverse=True))
    resolved = resolve(settings.version, config, settings.zone)
    learned.asked = resolved if isinstance(resolved, Version) else None
    if there is not None and there.status in WELL:
        learned.version = there.current_master_version
    elif isinstance(resolved, Version):
        learned.version = resolved.kubernetes
    else:
        yield resolved


def _zone(rest: Rest, settings: GkeSettings) -> Iterator[Problem]:
    zones = zones_of(rest, settings.region)
    if not zones:
        known = sorted({zone["name"].rpartition("-")[0] for zone in rest.listed("zones", "")})
        yield Problem("--zone", f"there is no region {settings.region}", f"one of: {', '.join(known)}")
    elif not settings.regional and settings.zone not in zones:
        yield Problem("--zone", f"there is no zone {settings.zone} that is up", f"one of: {', '.join(zones)}")


def _machines_and_quota(
    rest: Rest, settings: GkeSettings, zones: int, learned: _Learned
) -> Iterator[Problem]:
    """Quota for CPUs, addresses and disks: what is short, and the flag that mends it."""
    region = rest.one(f"regions/{settings.region}")
    if region is None:
        return  # said by _zone
    known = zones_of(rest, settings.region)
    zone = settings.zone if settings.zone in known else known[0] if known else settings.zone
    learned.zone = zone
    machine = rest.one(f"zones/{zone}/machineTypes/{settings.machine_type}")
    if machine is None:
        what = f"zone {zone} has no such machine type"
        yield Problem(
            f"--set gke.machine_type={settings.machine_type}", what, "use another one, e2-medium for example"
        )
    needed = _needed(settings, settings.nodes * zones, int(machine["guestCpus"]) if machine else 0)
    quotas = {quota["metric"]: (quota, settings.region) for quota in region.get("quotas") or []}
    of_project = [quota for quota in rest.project_quotas() if quota["metric"] == ALL_CPUS]
    quotas |= {quota["metric"]: (quota, str(settings.project)) for quota in of_project}
    if settings.spot and SPOT_CPUS in quotas and quotas[SPOT_CPUS][0]["limit"] > 0:
        # Spot machines count there once a project has such a quota; before that they count as any other.
        needed[SPOT_CPUS] = needed.pop("CPUS")
    for metric, (quota, of) in quotas.items():
        if metric in needed:
            free = quota["limit"] - quota["usage"]
            learned.quotas.append(Quota(metric, of, needed[metric], quota["limit"], free))
    for each in learned.quotas:
        if (problem := each.problem) is not None:
            yield problem


def _needed(settings: GkeSettings, nodes: int, cpus: int) -> dict[str, float]:
    """What the nodes take of each quota. cpus: of one machine."""
    return {
        ALL_CPUS: nodes * cpus,
        "CPUS": nodes * cpus,
        "IN_USE_ADDRESSES": nodes if settings.access == "public" else 0,
        "SSD_TOTAL_GB": nodes * settings.disk_gb,  # GKE's nodes have balanced disks, which count as SSD
    }


def _network(rest: Rest, settings: GkeSettings) -> Iterator[Problem]:
    network = rest.one(f"global/networks/{settings.network}")
    if network is not None and network.get("IPv4Range") and vpc_native(settings):
        what = (
            "is a legacy network without subnets; private nodes and Dataplane V2 need a VPC network with them"
        )
        yield Problem(f"--set gke.network={settings.network}", what, "name another network")
    if network is None:
        what = f"project {settings.project} has no VPC network of that name"
        yield Problem(f"--set gke.network={settings.network}", what, "name one that is there")


def _as_problem(where: str, problem: CloudError) -> Problem:
    return Problem(where, problem.message, problem.remedy)


def _once(found: list[Problem]) -> list[Problem]:
    """Without what several questions met alike (the API is disabled, nobody answers)."""
    return list({(each.where, each.remedy): each for each in reversed(found)}.values())[::-1]
