import pytest

from meshlab.clusters.gke.leftovers import Balancer, balancers, remove_billed
from meshlab.core.errors import KubeError
from meshlab.core.progress import Update, silent
from tests.fakes.clock import FakeClock
from tests.fakes.gke.books import Books
from tests.fakes.gke.kube import FakeClusterKube
from tests.unit.clusters.gke.conftest import PATH
from tests.unit.clusters.gke.test_request import CONFIG

UID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.fixture
def inside() -> FakeClusterKube:
    from google.cloud.container_v1.types import Cluster

    books = Books()
    parent, _, name = PATH.partition("/clusters/")
    books.create(parent, Cluster(name=name, initial_cluster_version=CONFIG.valid_master_versions[0]))
    return FakeClusterKube(books, PATH)


def test_load_balancers_are_listed_with_uid_and_address(inside: FakeClusterKube) -> None:
    inside.add_service("istio-system", "gw", UID)
    inside.things["Service", "default", "plain"] = {
        "metadata": {"name": "plain", "namespace": "default", "uid": "x"}, "spec": {"type": "ClusterIP"}
    }  # fmt: skip
    assert balancers(inside) == [Balancer(UID, "istio-system/gw", "203.0.113.20")]  # type: ignore[arg-type]
    inside.things["Service", "istio-system", "gw"]["status"] = {"loadBalancer": {}}
    assert balancers(inside)[0].address == ""  # type: ignore[arg-type]


def test_services_and_volumes_go_and_plain_services_stay(inside: FakeClusterKube) -> None:
    inside.add_service("istio-system", "gw", UID)
    inside.add_volume("default", "data")
    inside.things["Service", "default", "plain"] = {
        "metadata": {"name": "plain", "namespace": "default", "uid": "x"}, "spec": {"type": "ClusterIP"}
    }  # fmt: skip
    told: list[Update] = []
    assert remove_billed(inside, progress=told.append, clock=FakeClock()) == []  # type: ignore[arg-type]
    assert {key[:3] for key in inside.things} == {("Service", "default", "plain")}
    assert inside.books.left().get("disks", []) == [] and "forwardingRules" not in inside.books.left()
    assert [update.detail for update in told][:2] == ["istio-system/gw", "default/data"]


def test_what_does_not_go_is_named_after_the_deadline(inside: FakeClusterKube) -> None:
    inside.add_service("istio-system", "gw", UID)
    inside.stuck = True
    clock = FakeClock()
    assert remove_billed(inside, progress=silent, clock=clock) == ["Service istio-system/gw"]  # type: ignore[arg-type]
    assert clock.now() >= 180


def test_a_cluster_that_does_not_answer_is_an_error(inside: FakeClusterKube) -> None:
    inside.deaf = True
    with pytest.raises(KubeError):
        remove_billed(inside, progress=silent)  # type: ignore[arg-type]
