from collections.abc import Callable

import pytest
from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.comparison import differences
from meshlab.core.errors import CloudError
from tests.fakes.gke.emulator import Emulator
from tests.unit.clusters.gke.conftest import PATH

Make = Callable[..., GkeCluster]
ALL = {"spot": True, "workload_identity": True, "dataplane_v2": True, "version": "regular"}
OTHER = "20260102t000000z-bbbb"


@pytest.mark.parametrize("changes", [{}, ALL])
def test_a_cluster_that_is_as_it_was_asked_for_has_no_departure(provider: Make, changes: dict) -> None:
    made = provider(**changes)
    made.up()
    assert made.departures() == []


def test_each_departure_names_what_was_asked_and_what_came(provider: Make, emulator: Emulator) -> None:
    made = provider(**ALL)
    made.up()
    cluster = emulator.books.clusters[PATH]
    [pool] = cluster.node_pools
    pool.config.spot, pool.config.disk_size_gb, pool.initial_node_count = False, 50, 2
    cluster.workload_identity_config.workload_pool = ""
    cluster.network_config.datapath_provider = 1
    cluster.release_channel.channel = 0
    cluster.current_master_version = "1.33.6-gke.1"
    assert made.departures() == [
        "nodes in a zone: asked for 3, got 2",
        "disk of a node in GB: asked for 100, got 50",
        "spot nodes: asked for True, got none",
        "Kubernetes: asked for 1.33.5-gke.1201000, got 1.33.6-gke.1",
        "release channel: asked for regular, got unspecified",
        "workload pool: asked for p.svc.id.goog, got none",
        "Dataplane V2: asked for True, got none",
    ]


def test_a_region_that_has_other_zones_than_were_counted_is_told(provider: Make, emulator: Emulator) -> None:
    regional = PATH.replace("us-central1-b", "us-central1")
    emulator.books.quotas.clear()
    made = provider(zone="us-central1", nodes=1)
    made.up()
    assert made.departures() == []
    emulator.books.clusters[regional].locations = [f"us-central1-{zone}" for zone in "abcf"]
    assert made.departures() == ["zones with nodes: asked for 3, got 4"]


def test_one_of_ours_without_what_is_asked_for_is_not_adopted(provider: Make) -> None:
    provider(OTHER, ledger=False).up()
    with pytest.raises(CloudError) as caught:
        provider(spot=True, workload_identity=True, dataplane_v2=True).up()
    assert caught.value.kind == "exists"
    for said in ("standard nodes instead of spot nodes", "no Workload Identity", "no Dataplane V2"):
        assert said in caught.value.message


def test_spot_nodes_are_not_taken_for_standard_ones(provider: Make) -> None:
    found = Cluster(
        node_pools=[{"initial_node_count": 3, "config": {"machine_type": "e2-medium", "spot": True}}]
    )
    assert differences(found, provider().settings) == ["spot nodes instead of standard nodes"]
    assert differences(found, provider(spot=True).settings) == []


@pytest.mark.parametrize("ours", [True, False])
def test_an_autopilot_cluster_is_refused_with_the_reason(
    provider: Make, emulator: Emulator, ours: bool
) -> None:
    if ours:
        provider(OTHER, ledger=False).up()
    else:
        emulator.books.create("projects/p/locations/us-central1-b", Cluster(name="my-istio-cluster"))
    emulator.books.clusters[PATH].autopilot.enabled = True
    before = dict(emulator.books.clusters[PATH].resource_labels)
    with pytest.raises(CloudError, match="NET_ADMIN") as caught:
        provider().up()
    assert caught.value.kind == "exists" and "--cluster existing" not in caught.value.remedy
    assert emulator.books.clusters[PATH].resource_labels == before
