import json
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
from google.cloud.container_v1.types import Cluster, CreateClusterRequest

from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.plan import as_plain, plan
from meshlab.clusters.gke.preflight import examine
from meshlab.config.settings import Machine
from tests.fakes.gke.emulator import Emulator
from tests.unit.clusters.gke.conftest import PATH

Make = Callable[..., GkeCluster]
READS = ("Get", "List", "GET ", "POST v1/projects/p:testIamPermissions")
RUN, OTHER = "20260101t000000z-aaaa", "20260102t000000z-bbbb"


def planned(emulator: Emulator, machine: Machine, **changes: object) -> dict[str, Any]:
    settings = emulator.settings(**changes)
    found = examine(settings, machine)
    return plan(settings, found, found.problems)


def of_google(calls: dict[str, list[dict[str, str]]]) -> list[str]:
    """The plan's calls of Google's APIs; those inside the cluster are left out."""
    names = [call["call"] for stage in calls.values() for call in stage]
    return once([name for name in names if name != "Kubernetes API" and "ENDPOINT" not in name])


def once(names: list[str]) -> list[str]:
    """Without repetitions of the same call."""
    return [name for name, _ in groupby(names)]


def whole_run(provider: GkeCluster, emulator: Emulator, machine: Machine) -> list[str]:
    """What the emulator gets of a run."""
    emulator.books.log.clear()
    examine(provider.settings, machine)
    provider.up()
    provider.status_table()
    provider.inventory()
    provider.down()
    assert len(provider.inventory()) == 0
    return once(emulator.books.log)


def without_later(request: dict[str, Any], later: list[str]) -> dict[str, Any]:
    """A request without what is known when the run begins: two labels and the description, each of which it has."""
    cluster, labels = dict(request["cluster"]), dict(request["cluster"]["resourceLabels"])
    for name in later:
        del (labels if name in labels else cluster)[name]
    return {**request, "cluster": {**cluster, "resourceLabels": labels}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spot": True, "workload_identity": True, "dataplane_v2": True},
        {"access": "private", "version": "regular"},
        {"access": "dns", "zone": "us-central1", "nodes": 1},
    ],
)
def test_the_request_is_the_one_that_a_run_sends(
    provider: Make, emulator: Emulator, machine: Machine, changes: dict[str, object]
) -> None:
    shown = planned(emulator, machine, **changes)
    assert shown["preflight"]["problems"] == [] and emulator.books.created == []
    made = provider(**changes)
    if "access" in changes:  # the emulator has the public endpoint only, so the run ends after its request
        with pytest.raises(Exception, match="endpoint"):
            made.up()
    else:
        made.up()
    [sent] = emulator.books.created
    later = shown["set_when_the_run_begins"]
    assert later == ["meshlab-run-id", "meshlab-expires", "description"]
    assert without_later(shown["CreateCluster"], later) == without_later(as_plain(sent), later)
    assert CreateClusterRequest.from_json(json.dumps(as_plain(sent))) == sent, "nothing of it is left out"


def test_the_calls_are_those_of_a_run_in_their_order(
    provider: Make, emulator: Emulator, machine: Machine
) -> None:
    shown = of_google(planned(emulator, machine)["calls"])
    assert all(call.startswith(READS) for call in emulator.books.log)
    assert whole_run(provider(), emulator, machine) == shown


def test_a_cluster_of_ours_is_labelled_not_made(provider: Make, emulator: Emulator, machine: Machine) -> None:
    provider(RUN, ledger=False).up()
    labels = dict(emulator.books.clusters[PATH].resource_labels)
    shown = planned(emulator, machine)
    assert shown["SetLabels"]["resourceLabels"]["meshlab-owner"] == labels["meshlab-owner"]
    assert "CreateCluster" not in shown
    assert emulator.books.clusters[PATH].resource_labels == labels
    assert whole_run(provider(OTHER), emulator, machine) == of_google(shown["calls"])


def test_one_of_ours_that_is_broken_is_deleted_and_made_anew(
    provider: Make, emulator: Emulator, machine: Machine
) -> None:
    provider(RUN, ledger=False).up()
    emulator.books.clusters[PATH].status = Cluster.Status.ERROR
    shown = planned(emulator, machine)
    names = [call["call"] for call in shown["calls"]["creation"]]
    assert names.index("DeleteCluster") < names.index("CreateCluster")
    assert whole_run(provider(OTHER), emulator, machine) == of_google(shown["calls"])


def test_what_costs_and_what_is_free_is_told_in_numbers(emulator: Emulator, machine: Machine) -> None:
    emulator.books.denied = {"compute.disks.list"}
    emulator.books.quotas["CPUS"] = (8, 4)
    shown = planned(emulator, machine, hours_to_live=2)
    hourly = 3 * (0.03351 + 100 * 0.10 / 730) + 0.10
    assert shown["cost"]["usd_an_hour"] == pytest.approx(hourly, abs=1e-4)
    assert shown["cost"]["usd_at_most"] == pytest.approx(2 * hourly, abs=0.01)
    assert (shown["cost"]["nodes"], shown["cost"]["ceiling_usd"]) == (3, 10)
    assert {"metric": "CPUS", "of": "us-central1", "needs": 6, "free": 4} in shown["preflight"]["quota"]
    assert {"metric": "CPUS_ALL_REGIONS", "of": "p", "needs": 6, "free": 32} in shown["preflight"]["quota"]
    assert shown["preflight"]["permissions"]["missing"] == ["compute.disks.list"]
    assert len(shown["preflight"]["problems"]) == 2


def test_elsewhere_the_cost_names_what_it_assumes(emulator: Emulator, machine: Machine) -> None:
    told = " ".join(planned(emulator, machine, zone="europe-west1", spot=True)["cost"]["assumptions"])
    assert (
        "1.6 times the price of us-central1" in told
        and "3 zones" in told
        and "spot nodes at 0.4" in told
        and "2026-11-23" in told
    )


def test_without_a_version_there_is_no_request(emulator: Emulator, machine: Machine) -> None:
    shown = planned(emulator, machine, version="1.21")
    assert shown["CreateCluster"] is None and len(shown["preflight"]["problems"]) == 1
