import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from google.cloud.container_v1.types import Cluster

from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.names import expiry
from meshlab.clusters.gke.request import COLUMNS, as_text
from meshlab.config.settings import Machine
from meshlab.core.errors import CloudError, KubeError
from meshlab.core.progress import Update
from meshlab.run.ledger import Entry
from tests.fakes.gke.books import Fault
from tests.fakes.gke.emulator import Emulator
from tests.fakes.gke.kube import FakeClusterKube
from tests.unit.clusters.gke.conftest import PATH, ledger_of

Make = Callable[..., GkeCluster]
RUN, OTHER = "20260101t000000z-aaaa", "20260102t000000z-bbbb"


def test_the_documents_values_are_the_defaults(provider: Make, emulator: Emulator) -> None:
    told: list[Update] = []
    ref = provider().up(progress=told.append)
    made = emulator.books.clusters[PATH]
    [pool] = made.node_pools
    assert (made.initial_cluster_version, made.network) == ("1.34.1-gke.2037000", "default")
    assert (pool.initial_node_count, pool.config.machine_type) == (3, "e2-medium")
    assert (ref.provider, ref.name, ref.nodes, ref.adopted) == ("gke", "my-istio-cluster", 3, False)
    assert ref.endpoint == "https://203.0.113.10"
    assert "RUNNING: being configured (1 of 2)" in [update.detail for update in told]
    assert any(update.percent for update in told)


def test_intent_is_in_the_ledger_before_the_first_call_that_makes_something(
    provider: Make, emulator: Emulator, machine: Machine
) -> None:
    seen: list[tuple[Entry, ...]] = []
    create = emulator.books.create
    emulator.books.create = lambda *a: (seen.append(ledger_of(machine).entries()), create(*a))[1]  # type: ignore
    provider().up()
    del emulator.books.create
    cluster = Entry("cluster", "my-istio-cluster", "gke:projects/p/locations/us-central1-b")
    assert seen == [(cluster,)]
    noted, labels = ledger_of(machine).noted("gke"), dict(emulator.books.clusters[PATH].resource_labels)
    assert labels["managed-by"] == "meshlab"
    assert noted["run_id"] == labels["meshlab-run-id"] == RUN
    assert noted["owner"] == labels["meshlab-owner"] != ""
    assert noted["expires"] == labels["meshlab-expires"]
    lives = (expiry(labels) or datetime.min.replace(tzinfo=UTC)) - datetime.now(UTC)
    assert 3.9 < lives.total_seconds() / 3600 <= 4
    assert noted["id"] == emulator.books.clusters[PATH].id


def test_the_kubeconfig_is_private_and_holds_no_secret(provider: Make, machine: Machine) -> None:
    ref = provider().up()
    assert machine.state in ref.kubeconfig.parents
    assert stat.S_IMODE(ref.kubeconfig.stat().st_mode) == 0o600
    assert stat.S_IMODE(ref.kubeconfig.parent.stat().st_mode) == 0o700
    text = ref.kubeconfig.read_text()
    assert "meshlab.clusters.gke.credential" in text
    assert "token:" not in text and "client-key" not in text


def test_the_status_table_has_gclouds_columns(provider: Make) -> None:
    cluster = provider()
    assert (cluster.status_table(), as_text([])) == ([], "")
    cluster.up()
    [row] = cluster.status_table()
    assert tuple(row) == COLUMNS
    assert list(row.values()) == [
        "my-istio-cluster", "us-central1-b", "1.34.1-gke.2037000", "203.0.113.10", "e2-medium", "1.34.1-gke.2037000",
        "3", "RUNNING",
    ]  # fmt: skip
    assert as_text([row]).splitlines()[0].split() == list(COLUMNS)


def test_a_regional_cluster_has_its_nodes_in_each_zone(provider: Make) -> None:
    assert provider(zone="us-central1").up().nodes == 9


def test_a_foreign_one_is_refused_and_never_touched(provider: Make, emulator: Emulator) -> None:
    emulator.books.create(
        "projects/p/locations/us-central1-b", Cluster(name="my-istio-cluster", initial_cluster_version="1")
    )
    cluster = provider()
    with pytest.raises(CloudError, match="this project did not make") as caught:
        cluster.up()
    assert caught.value.kind == "exists"
    assert cluster.inventory().items["clusters"] == ()
    cluster.down()
    assert PATH in emulator.books.clusters
    assert "DeleteCluster" not in emulator.books.calls and "SetLabels" not in emulator.books.calls


def test_load_balancers_and_volumes_go_before_the_cluster(
    provider: Make, emulator: Emulator, kube: FakeClusterKube, machine: Machine
) -> None:
    cluster = provider()
    cluster.up()
    kube.add_service("istio-system", "istio-ingressgateway", "123e4567-e89b-12d3-a456-426614174000")
    kube.add_volume("default", "data")
    assert cluster.note_balancers(kube) == 1  # type: ignore[arg-type]
    [noted] = ledger_of(machine).noted("gke")["balancers"]
    assert noted == {
        "uid": "123e4567-e89b-12d3-a456-426614174000", "name": "istio-system/istio-ingressgateway",
        "address": "203.0.113.20",
    }  # fmt: skip
    before = cluster.inventory()
    assert before.counts() == {
        "clusters": 1, "forwarding rules": 1, "target pools": 1, "firewalls": 3, "disks": 4, "kubeconfigs": 1
    }  # fmt: skip
    cluster.down()
    assert len(cluster.inventory()) == 0
    assert emulator.books.left() == {}
    assert not cluster.kubeconfig.parent.exists()
    cluster.down()  # twice is fine


def test_what_a_deaf_cluster_leaves_is_an_error_that_names_it_and_how_to_remove_it(
    provider: Make, emulator: Emulator, kube: FakeClusterKube
) -> None:
    cluster = provider()
    cluster.up()
    kube.add_service("istio-system", "gw", "123e4567-e89b-12d3-a456-426614174000")
    cluster.note_balancers(kube)  # type: ignore[arg-type]
    kube.deaf = True
    with pytest.raises(CloudError) as caught:
        cluster.down()
    name = "a123e4567e89b12d3a456426614174000"[:32]
    assert caught.value.kind == "leftovers"
    assert (
        f"forwarding rules {name} (about 0.025 USD an hour each); target pools {name}" in caught.value.message
    )
    assert f"firewalls k8s-fw-{name}" in caught.value.message
    assert (
        f"gcloud compute forwarding-rules delete {name} --region us-central1 --project p"
        in caught.value.remedy
    )
    assert "clusters" not in emulator.books.left()
    assert set(cluster.inventory().counts().values()) == {0, 1}  # and the check would find it too


def test_a_reaper_without_a_ledger_names_the_load_balancer_that_it_saw(
    provider: Make, emulator: Emulator, kube: FakeClusterKube
) -> None:
    provider(ledger=False).up()
    kube.add_service("istio-system", "gw", "123e4567-e89b-12d3-a456-426614174000")
    for pool in emulator.books.table("targetPools").values():
        pool["instances"] = []  # so that only its name, made from the uid, tells whose it is
    remove = kube.objects

    def objects(api_version: str, kind: str) -> list:
        if kind == "PersistentVolumeClaim":
            raise KubeError("can't ask: no answer from the API server", retryable=False)
        return remove(api_version, kind)

    kube.objects, kube.stuck = objects, True  # type: ignore[method-assign]
    with pytest.raises(CloudError, match="target pools a123e4567e89b12d3a45642661417400"):
        provider(ledger=False).down()


def test_a_cluster_with_a_longer_name_is_not_taken_for_a_leftover(provider: Make, emulator: Emulator) -> None:
    neighbour = provider(OTHER, ledger=False, name="my-istio-cluster-two")
    neighbour.up()
    cluster = provider()
    cluster.up()
    assert cluster.inventory().counts()["disks"] == 3
    cluster.down()
    assert list(emulator.books.clusters) == [neighbour.place.path]


def test_a_lost_answer_to_the_deletion_is_asked_for_again(provider: Make, emulator: Emulator) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.faults.append(Fault("DeleteCluster", after=True))
    cluster.down()
    assert emulator.books.left() == {}


def test_an_api_that_stays_away_is_told_after_the_deadline(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("GetCluster", times=10_000))
    with pytest.raises(
        CloudError, match=r"can't look at cluster my-istio-cluster: the API does not answer"
    ) as caught:
        provider(retry_seconds=0.3).up()
    assert caught.value.kind == "unavailable" and caught.value.retryable


@pytest.mark.parametrize(
    "kept", [{}, {"managed-by": "meshlab"}, {"team": "x"}], ids=["none", "ours but the run's", "another"]
)
def test_a_cluster_whose_labels_somebody_took_off_is_known_by_its_id(
    provider: Make, emulator: Emulator, kept: dict[str, str]
) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.clusters[PATH].resource_labels = kept
    assert cluster.inventory().counts()["clusters"] == 1
    cluster.down()
    assert emulator.books.left() == {} and len(cluster.inventory()) == 0


def test_a_cluster_that_another_run_has_adopted_stays_and_names_that_run(
    provider: Make, emulator: Emulator
) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.clusters[PATH].resource_labels["meshlab-run-id"] = OTHER
    told = cluster.adopted()
    with pytest.raises(CloudError, match=f"run {OTHER} has adopted it") as caught:
        cluster.down()
    assert f"--run {OTHER} --project p" in caught.value.remedy and str(told) == str(caught.value)
    assert f"{PATH} (about 0.24 USD an hour)" in caught.value.message
    assert PATH in emulator.books.clusters and "DeleteCluster" not in emulator.books.calls


def test_a_later_cluster_of_the_same_name_is_not_this_runs(provider: Make, emulator: Emulator) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.clusters[PATH].resource_labels = {}
    emulator.books.clusters[PATH].id = "of another cluster"
    assert cluster.inventory().counts()["clusters"] == 0
    cluster.down()
    assert PATH in emulator.books.clusters and "DeleteCluster" not in emulator.books.calls


def test_one_without_labels_or_known_id_is_known_by_its_description(
    provider: Make, emulator: Emulator, machine: Machine
) -> None:
    cluster = provider()
    cluster.up()
    made = emulator.books.clusters[PATH]
    made.resource_labels = {}
    ledger_of(machine).note("gke", {"id": ""})
    made.description = made.description.replace("20260101t000000z-aaaa", OTHER)
    assert cluster.inventory().counts()["clusters"] == 0, "the control: of another run"
    made.description = made.description.replace(OTHER, "20260101t000000z-aaaa")
    assert cluster.inventory().counts()["clusters"] == 1
    cluster.down()
    assert emulator.books.left() == {}


def test_one_that_was_asked_for_and_has_no_label_and_no_known_id_is_told(
    provider: Make, emulator: Emulator, machine: Machine
) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.clusters[PATH].resource_labels = {}
    emulator.books.clusters[PATH].description = "of an earlier version, which named no run"
    ledger_of(machine).note("gke", {"id": ""})  # killed before it learned it
    with pytest.raises(CloudError, match="never learned its id") as caught:
        cluster.down()
    assert (
        "gcloud container clusters delete my-istio-cluster --zone us-central1-b --project p"
        in caught.value.remedy
    )
    assert f"{PATH} (about 0.24 USD an hour)" in caught.value.message
    assert PATH in emulator.books.clusters


def test_what_the_logs_hold(provider: Make, tmp_path) -> None:
    cluster = provider()
    cluster.up()
    table, operations = cluster.collect_logs(tmp_path / "logs")
    assert "my-istio-cluster" in table.read_text()
    assert json.loads(operations.read_text()) == []


def test_logs_of_an_api_that_is_away_say_so(provider: Make, emulator: Emulator, tmp_path) -> None:
    emulator.books.faults.append(Fault("GetCluster", times=10_000))
    table, _ = provider(retry_seconds=0.2).collect_logs(tmp_path / "logs")
    assert "the API does not answer" in table.read_text()
