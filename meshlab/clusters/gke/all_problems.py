"""Every problem of a command line at once: one wrong setting does not keep the others from being asked about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from meshlab.clusters.gke.api import zones_of
from meshlab.clusters.gke.cluster import seams_of
from meshlab.clusters.gke.preflight import (
    LONGEST_NAME,
    NO_PROJECT,
    PREFLIGHT_RETRY,
    WHERE,
    Found,
    examine,
)
from meshlab.config.settings import GkeSettings, Machine
from meshlab.core.errors import CloudError, Problem

SIZE = ("zone", "nodes", "machine_type", "disk_gb")
# How a problem's place begins → the settings that it comes from: where one is wrong, it was asked about another value.
FROM = {
    "--zone": ("zone",),
    "--set gke.version": ("zone", "version"),
    "--set gke.machine_type": ("zone", "machine_type", "hourly_price"),
    "--set gke.network": ("network",),
    "--set gke.name": ("zone", "name"),
    "--set gke.cost_ceiling": (*SIZE, "hours_to_live", "hourly_price", "cost_ceiling"),
    "quota of ": (*SIZE, "access"),
}
ENDPOINTS = ("gke.api_endpoint", "gke.compute_endpoint")


def examine_all(settings: GkeSettings, machine: Machine | None = None) -> Found:
    """Find every problem, also of what depends on a location that does not exist: that is asked of one that does.

    Args:
        settings: What is asked for.
        machine: Whose ledgers tell which living run holds it.

    Returns:
        The problems, and the Kubernetes that the cluster would have.
    """
    found = examine(settings, machine)
    if not any(each.where == "--zone" for each in found.problems):
        return found
    # What failed by the location only is said by the problem of --zone.
    kept = [each for each in found.problems if each.where != WHERE or settings.zone not in each.what]
    there = _location_that_exists(settings)
    if there is not None:
        other = examine(settings.model_copy(update={"zone": there}), machine).problems
        known = {each.where for each in kept}
        kept += [
            each for each in other if each.where.startswith("--set gke.version") and each.where not in known
        ]
    return replace(found, problems=kept)


def examine_rest(settings: GkeSettings, wrong: Collection[str], machine: Machine | None) -> list[Problem]:
    """Find the problems beside settings that make no sense.

    Args:
        settings: With defaults in place of those.
        wrong: Those, as `gke.zone`.
        machine: Whose ledgers tell which living run holds it.

    Returns:
        The problems that do not come from those settings.
    """
    if settings.project is None:
        return [] if "gke.project" in wrong else [NO_PROJECT]
    if any(each in wrong for each in ENDPOINTS):
        return []  # nobody to ask: Google itself was not meant
    found = examine_all(settings, machine).problems
    return [each for each in found if not _comes_from(each, settings, wrong)]


def _comes_from(problem: Problem, settings: GkeSettings, wrong: Collection[str]) -> bool:
    if problem.where == f"--set gke.name={settings.name}" and len(settings.name) > LONGEST_NAME:
        return False  # of the name alone, wherever the cluster would be
    sources = next((names for begin, names in FROM.items() if problem.where.startswith(begin)), ())
    return any(f"gke.{name}" in wrong for name in sources)


def _location_that_exists(settings: GkeSettings) -> str | None:
    """A zone of the region, or the default one where there is no such region; None where nobody tells."""
    quick = settings.model_copy(update={"retry_seconds": min(settings.retry_seconds, PREFLIGHT_RETRY)})
    try:
        rest = seams_of(quick).rest()
        zones = zones_of(rest, settings.region) or zones_of(rest, GkeSettings().region)
    except CloudError:
        return None
    return zones[0] if zones else None
