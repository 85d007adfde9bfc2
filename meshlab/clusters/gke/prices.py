"""What a cluster costs at most until it expires, by a dated table of prices; nothing is fetched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

from meshlab.config.settings import GkeSettings
from meshlab.core.errors import Problem

HOURS_A_MONTH = 730


class Prices(BaseModel):
    """The table beside this module; US dollars."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    date: str
    source: str
    dearest_region_factor: float
    base_region: str
    spot_factor: float
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
    machine = settings.hourly_price or _listed(settings)
    if machine is None:
        return None
    nodes = settings.nodes * zones
    disk = settings.disk_gb * table.disk_gb_month / HOURS_A_MONTH
    factor = 1.0 if settings.region == table.base_region else table.dearest_region_factor
    return Estimate(nodes, (nodes * (machine + disk) + table.cluster_fee) * factor, settings.hours_to_live)


def _listed(settings: GkeSettings) -> float | None:
    """A machine's price by the table, US dollars an hour; None where the table lacks it."""
    listed = prices().machines.get(settings.machine_type)
    return listed * prices().spot_factor if listed is not None and settings.spot else listed


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
    kind = f"{'spot ' if settings.spot else ''}{settings.machine_type}"
    what = (
        f"{found.nodes} × {kind} for {found.hours:g} h may cost {found.total:.2f} USD "
        f"({found.hourly:.3f} an hour), the ceiling is {settings.cost_ceiling:.2f}"
    )
    remedy = "fewer nodes (--set gke.nodes=N), less time (--set gke.hours_to_live=N), or --set gke.cost_ceiling=USD"
    return [Problem("--set gke.cost_ceiling", what, remedy)]
