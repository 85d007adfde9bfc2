"""What can be known to keep a GKE cluster from being made, before anything is. All of it at once; nothing is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

from meshlab.clusters.gke import access
from meshlab.clusters.gke.api import GkeApi, Rest, zones_of
from meshlab.clusters.gke.api_errors import quota_remedy, shortfall
from meshlab.clusters.gke.cluster import seams_of
from meshlab.clusters.gke.creation import WELL
from meshlab.clusters.gke.credential import credentials_of, refreshed
from meshlab.clusters.gke.names import RUN, is_ours
from meshlab.clusters.gke.record import ClusterRecord
from meshlab.clusters.gke.request import REGIONAL_ZONES, Version, differences, order, resolve
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
PREFLIGHT_RETRY = 10.0  # seconds; whoever typed a command is waiting
WHERE = "--cluster gke"
NO_PROJECT = Problem("--project", "is needed with --cluster gke", "name the project that pays")
HOURS_A_MONTH = 730


@dataclass(frozen=True)
class Found:
    """What the preflight learns.

    Attributes:
        problems: What keeps a cluster from being made.
        version: The Kubernetes that would be made, or runs in the cluster of ours; None where it is not known.
        offered: Kubernetes versions that the location has, the newest first.
    """

    problems: list[Problem]
    version: str | None = None
    offered: tuple[str, ...] = ()


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
    version: list[str] = []
    offered: list[str] = []
    questions: list[Callable[[], Iterator[Problem]]] = [
        lambda: _permissions(rest),
        lambda: _there(api, settings, machine),
        lambda: _version(api, settings, version, offered),
        lambda: _zone(rest, settings),
        lambda: _machines_and_quota(rest, settings, zones),
        lambda: _network(rest, settings),
    ]
    for question in questions:
        try:
            found += question()
        except CloudError as problem:
            found.append(_as_problem(WHERE, problem))
    return Found(_once(found), version[0] if version else None, tuple(offered))


def _permissions(rest: Rest) -> Iterator[Problem]:
    missing = set(PERMISSIONS) - rest.granted(PERMISSIONS)
    if missing:
        what = f"these credentials lack {len(missing)} permissions in {rest.project}: {', '.join(sorted(missing))}"
        yield Problem("--project", what, "let an administrator grant the role in docs/gke.md")


def _there(api: GkeApi, settings: GkeSettings, machine: Machine | None) -> Iterator[Problem]:
    """A cluster of that name that can't be adopted."""
    there, where = api.cluster(), f"--set gke.name={settings.name}"
    if there is None:
        return
    if not is_ours(there.resource_labels):
        yield Problem(
            where,
            f"there is a cluster of that name in {there.location} that this project did not make",
            "choose another name, or use that cluster as it is: --cluster existing --context NAME",
        )
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


def _version(api: GkeApi, settings: GkeSettings, version: list[str], offered: list[str]) -> Iterator[Problem]:
    """The Kubernetes that the cluster will have, or has."""
    there = api.cluster()
    config = api.server_config()
    offered += sorted(config.valid_master_versions, key=order, reverse=True)
    resolved = resolve(settings.version, config, settings.zone)
    if there is not None and there.status in WELL:
        version.append(there.current_master_version)
    elif isinstance(resolved, Version):
        version.append(resolved.kubernetes)
    else:
        yield resolved


def _zone(rest: Rest, settings: GkeSettings) -> Iterator[Problem]:
    zones = zones_of(rest, settings.region)
    if not zones:
        known = sorted({zone["name"].rpartition("-")[0] for zone in rest.listed("zones", "")})
        yield Problem("--zone", f"there is no region {settings.region}", f"one of: {', '.join(known)}")
    elif not settings.regional and settings.zone not in zones:
        yield Problem("--zone", f"there is no zone {settings.zone} that is up", f"one of: {', '.join(zones)}")


def _machines_and_quota(rest: Rest, settings: GkeSettings, zones: int) -> Iterator[Problem]:
    """Quota for CPUs, addresses and disks: what is short, and the flag that mends it."""
    region = rest.one(f"regions/{settings.region}")
    if region is None:
        return  # said by _zone
    known = zones_of(rest, settings.region)
    zone = settings.zone if settings.zone in known else known[0] if known else settings.zone
    machine = rest.one(f"zones/{zone}/machineTypes/{settings.machine_type}")
    if machine is None:
        what = f"zone {zone} has no such machine type"
        yield Problem(
            f"--set gke.machine_type={settings.machine_type}", what, "use another one, e2-medium for example"
        )
    nodes = settings.nodes * zones
    quotas = {quota["metric"]: quota for quota in region.get("quotas") or []}
    quotas |= {quota["metric"]: quota for quota in rest.project_quotas() if quota["metric"] == ALL_CPUS}
    cpus = nodes * int(machine["guestCpus"]) if machine else 0
    needed = {
        ALL_CPUS: cpus,
        "CPUS": cpus,
        "IN_USE_ADDRESSES": nodes if settings.access == "public" else 0,
        "SSD_TOTAL_GB": nodes * settings.disk_gb,  # GKE's nodes have balanced disks, which count as SSD
    }
    for quota in quotas.values():
        wants, free = needed.get(quota["metric"], 0), quota["limit"] - quota["usage"]
        if wants > free:
            said = shortfall(quota["metric"], str(wants), str(wants - free), str(quota["limit"]), str(free))
            yield Problem(
                f"quota of {settings.project if quota['metric'] == ALL_CPUS else settings.region}",
                said,
                f"{quota_remedy(quota['metric'])}; or ask Google for more quota",
            )


def _network(rest: Rest, settings: GkeSettings) -> Iterator[Problem]:
    if rest.one(f"global/networks/{settings.network}") is None:
        what = f"project {settings.project} has no VPC network of that name"
        yield Problem(f"--set gke.network={settings.network}", what, "name one that is there")


def _as_problem(where: str, problem: CloudError) -> Problem:
    return Problem(where, problem.message, problem.remedy)


def _once(found: list[Problem]) -> list[Problem]:
    """Without what several questions met alike (the API is disabled, nobody answers)."""
    return list({(each.where, each.remedy): each for each in reversed(found)}.values())[::-1]


class Prices(BaseModel):
    """The table beside this module; US dollars."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    date: str
    source: str
    dearest_region_factor: float
    base_region: str
    cluster_fee: float
    disk_gb_month: float
    machines: dict[str, float]


@dataclass(frozen=True)
class Estimate:
    """The most that a cluster costs. hourly: US dollars; total: for all of its time to live."""

    nodes: int
    hourly: float
    hours: float

    @property
    def total(self) -> float:
        """US dollars until it expires."""
        return self.hourly * self.hours


@cache
def prices() -> Prices:
    """The price table."""
    content = yaml.safe_load(resources.files(__package__).joinpath("prices.yaml").read_text(encoding="utf-8"))
    return Prices.model_validate({**content, "date": str(content["date"])})


def estimate(settings: GkeSettings, zones: int = 1) -> Estimate | None:
    """Nodes × hourly price × time to live, disks and the cluster's fee included; None for a machine without a price."""
    table = prices()
    machine = settings.hourly_price or table.machines.get(settings.machine_type)
    if machine is None:
        return None
    nodes = settings.nodes * zones
    disk = settings.disk_gb * table.disk_gb_month / HOURS_A_MONTH
    factor = 1.0 if settings.region == table.base_region else table.dearest_region_factor
    return Estimate(nodes, (nodes * (machine + disk) + table.cluster_fee) * factor, settings.hours_to_live)


def price_problems(settings: GkeSettings, zones: int = 1) -> list[Problem]:
    """A cluster that may cost more than the ceiling, or nobody knows what."""
    found = estimate(settings, zones)
    if found is None:
        known = ", ".join(prices().machines)
        what = f"has no price in our table of {prices().date} (known: {known})"
        return [
            Problem(
                f"--set gke.machine_type={settings.machine_type}", what, "give it: --set gke.hourly_price=USD"
            )
        ]
    if found.total <= settings.cost_ceiling:
        return []
    what = (
        f"{found.nodes} × {settings.machine_type} for {found.hours:g} h may cost {found.total:.2f} USD "
        f"({found.hourly:.3f} an hour), the ceiling is {settings.cost_ceiling:.2f}"
    )
    remedy = "fewer nodes (--set gke.nodes=N), less time (--set gke.hours_to_live=N), or --set gke.cost_ceiling=USD"
    return [Problem("--set gke.cost_ceiling", what, remedy)]
