import pytest
from google.cloud.container_v1.types import Cluster, ServerConfig

from meshlab.clusters.gke.request import Version, cluster_of, order, resolve, size_of, workload_pool
from meshlab.config.settings import GkeSettings
from meshlab.core.errors import Problem
from tests.fakes.gke.books import Books

CONFIG = Books().server_config()


def asked(**changes: object) -> Cluster:
    settings = GkeSettings.model_validate({"project": "p", **changes})
    return cluster_of(settings, Version("1.34.1-gke.2037000"), {})


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("latest", Version("1.34.1-gke.2037000")),
        ("regular", Version("1.33.5-gke.1201000", "regular")),
        ("1.32", Version("1.32.9-gke.1130000")),
        ("1.32.9", Version("1.32.9-gke.1130000")),
        ("1.32.9-gke.1130000", Version("1.32.9-gke.1130000")),
    ],
)
def test_what_is_asked_for_is_resolved(wanted: str, version: Version) -> None:
    assert resolve(wanted, CONFIG, "z") == version


@pytest.mark.parametrize("wanted", ["1.3", "1.21.0", "rapid"])
def test_what_is_not_offered_names_what_is(wanted: str) -> None:
    found = resolve(wanted, CONFIG, "us-central1-b")
    assert isinstance(found, Problem) and "one of: latest, " in found.remedy


def test_a_location_without_versions() -> None:
    assert isinstance(resolve("latest", ServerConfig(), "z"), Problem)


def test_versions_are_ordered_by_number() -> None:
    assert order("1.9.0-gke.2") < order("1.10.0-gke.1") < order("1.10.0-gke.10")


def test_a_regional_cluster_is_told_with_the_nodes_of_all_its_zones() -> None:
    settings = GkeSettings(project="p", nodes=3)
    assert size_of(settings) == "3 × e2-medium"
    regional = settings.model_copy(update={"zone": "us-central1"})
    assert size_of(regional) == "3 × e2-medium in each of 3 zones, 9 nodes in all"


def test_the_endpoint_that_is_to_be_used_is_asked_for() -> None:
    assert (
        asked(access="dns").control_plane_endpoints_config.dns_endpoint_config.allow_external_traffic is True
    )
    private = asked(access="private")
    assert private.private_cluster_config.enable_private_nodes is True
    assert private.private_cluster_config.enable_private_endpoint is True
    assert private.ip_allocation_policy.use_ip_aliases is True
    public = asked(access="public")
    for name in ("control_plane_endpoints_config", "private_cluster_config", "ip_allocation_policy"):
        assert name not in public, "the document's own command asks for nothing of the kind"


def test_spot_workload_identity_and_dataplane_v2_are_asked_for_where_they_are_set() -> None:
    assert asked(spot=True).node_pools[0].config.spot is True
    identity = asked(workload_identity=True)
    assert identity.workload_identity_config.workload_pool == "p.svc.id.goog"
    assert identity.node_pools[0].config.workload_metadata_config.mode.name == "GKE_METADATA"
    v2 = asked(dataplane_v2=True)
    assert v2.network_config.datapath_provider.name == "ADVANCED_DATAPATH"
    assert v2.ip_allocation_policy.use_ip_aliases is True, "it exists in VPC-native clusters only"
    both = asked(dataplane_v2=True, access="private")
    assert both.ip_allocation_policy.use_ip_aliases and both.private_cluster_config.enable_private_nodes


def test_the_default_request_says_nothing_of_them() -> None:
    default = asked()
    for name in ("workload_identity_config", "network_config", "ip_allocation_policy", "autopilot"):
        assert name not in default
    assert "workload_metadata_config" not in default.node_pools[0].config
    assert not default.node_pools[0].config.spot


def test_the_pool_of_a_domain_s_project_has_the_domain_behind_the_name() -> None:
    assert workload_pool("example.com:lab") == "lab.example.com.svc.id.goog"


def test_spot_is_told_with_the_size() -> None:
    assert size_of(GkeSettings(nodes=2, spot=True)) == "2 × spot e2-medium"
