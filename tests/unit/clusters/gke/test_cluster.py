import json
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from google.cloud.container_v1.types import Cluster, Operation, StatusCondition

from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.names import expiry
from meshlab.clusters.gke.request import COLUMNS, as_text
from meshlab.config.settings import Machine
from meshlab.core.errors import CloudError, ClusterBusyError, InputError, KubeError, WaitTimeout
from meshlab.core.progress import Update
from meshlab.run.ledger import Entry, Ledger
from tests.fakes.gke.books import BadEnd, Fault, Status
from tests.fakes.gke.emulator import Emulator
from tests.fakes.gke.kube import FakeClusterKube
from tests.unit.clusters.gke.conftest import PATH

Make = Callable[..., GkeCluster]
RUN, OTHER = "20260101t000000z-aaaa", "20260102t000000z-bbbb"


def ledger_of(machine: Machine, run_id: str = RUN) -> Ledger:
    ledger = Ledger.of(machine, run_id)
    assert ledger is not None
    return ledger


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


def test_one_of_ours_is_adopted_and_relabelled(provider: Make, emulator: Emulator) -> None:
    provider(OTHER, ledger=False).up()
    ref = provider().up()
    assert ref.adopted
    assert emulator.books.calls.count("CreateCluster") == 1
    assert emulator.books.clusters[PATH].resource_labels["meshlab-run-id"] == RUN


def test_one_that_is_on_its_way_is_awaited_and_adopted(provider: Make, emulator: Emulator) -> None:
    first = provider(OTHER, ledger=False)
    emulator.books.create(first.place.parent, _request(first))
    assert emulator.books.clusters[PATH].status == Cluster.Status.PROVISIONING
    assert provider().up().adopted


def test_one_of_another_kind_is_not_adopted(provider: Make) -> None:
    provider(OTHER, ledger=False).up()
    with pytest.raises(
        CloudError, match="with 3 nodes instead of 2 and e2-medium instead of e2-small"
    ) as caught:
        provider(nodes=2, machine_type="e2-small").up()
    assert (caught.value.kind, f"flows.teardown --run {OTHER}" in caught.value.remedy) == ("exists", True)


def test_one_that_a_living_run_of_this_machine_holds_is_left_to_it(provider: Make) -> None:
    provider(OTHER).up()
    with pytest.raises(ClusterBusyError, match=f"held by run {OTHER}"):
        provider().up()


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


def test_a_broken_one_of_ours_is_made_anew(provider: Make, emulator: Emulator) -> None:
    first = provider(OTHER, ledger=False)
    emulator.books.bad_ends.append(BadEnd())
    emulator.books.create(first.place.parent, _request(first))
    assert not provider().up().adopted
    assert emulator.books.clusters[PATH].status == Cluster.Status.RUNNING


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
    assert f"forwarding rules {name}; target pools {name}; firewalls k8s-fw-{name}" in caught.value.message
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


def test_a_lost_answer_to_the_creation_does_not_make_a_second_one(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("CreateCluster", after=True))
    assert not provider().up().adopted
    assert emulator.books.calls.count("CreateCluster") == 1


def test_a_lost_request_is_made_again(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("CreateCluster", times=2))
    provider().up()
    assert emulator.books.calls.count("CreateCluster") == 3


def test_a_lost_answer_to_the_deletion_is_asked_for_again(provider: Make, emulator: Emulator) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.faults.append(Fault("DeleteCluster", after=True))
    cluster.down()
    assert emulator.books.left() == {}


def test_a_slow_answer_is_awaited(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("CreateCluster", code=None, seconds=0.2))
    emulator.books.faults.append(Fault("GetOperation", times=3))
    assert provider().up().nodes == 3


def test_an_api_that_stays_away_is_told_after_the_deadline(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("GetCluster", times=10_000))
    with pytest.raises(
        CloudError, match=r"can't look at cluster my-istio-cluster: the API does not answer"
    ) as caught:
        provider(retry_seconds=0.3).up()
    assert caught.value.kind == "unavailable" and caught.value.retryable


def test_a_creation_that_ends_badly_is_cleaned_up(provider: Make, emulator: Emulator) -> None:
    emulator.books.bad_ends.append(BadEnd())
    with pytest.raises(CloudError) as caught:
        provider().up()
    assert caught.value.kind == "stock-out"
    assert caught.value.remedy.startswith(
        "the other zones of us-central1 are us-central1-a, us-central1-c, us-central1-f; "
    )
    assert str(caught.value).splitlines()[0].endswith("; what was half made is deleted")
    assert emulator.books.left() == {}


def test_quota_that_is_only_found_out_by_the_operation(provider: Make, emulator: Emulator) -> None:
    said = "Insufficient regional quota to satisfy request: resource \"CPUS\": request requires '6.0' and is short '2.0'. project has a quota of '24.0' with '4.0' available."  # noqa: E501 - as the API says it
    emulator.books.bad_ends.append(BadEnd(8, said, StatusCondition.Code.GCE_QUOTA_EXCEEDED))
    with pytest.raises(CloudError) as caught:
        provider().up()
    assert caught.value.kind == "quota"
    assert "CPUS short by 2 (needs 6 of 24, 4 free)" in caught.value.message
    assert "--set gke.nodes=N" in caught.value.remedy
    assert emulator.books.left() == {}


def test_a_failed_clean_up_is_told_with_what_failed_first(provider: Make, emulator: Emulator) -> None:
    emulator.books.bad_ends.append(BadEnd(13, "Internal error."))
    emulator.books.faults.append(Fault("DeleteCluster", Status.PERMISSION_DENIED, "no", times=9))
    with pytest.raises(CloudError, match=r"Internal error.*could NOT be deleted: .*no") as caught:
        provider().up()
    assert f"python -m flows.teardown --run {RUN}" in caught.value.remedy


def test_a_version_that_is_gone_since_the_preflight_is_bad_input(provider: Make) -> None:
    with pytest.raises(InputError, match="us-central1-b does not offer it"):
        provider(version="1.21").up()


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
    assert cluster.adopting_run() == OTHER
    with pytest.raises(CloudError, match=f"run {OTHER} has adopted it") as caught:
        cluster.down()
    assert f"--run {OTHER}" in caught.value.remedy
    assert PATH in emulator.books.clusters and "DeleteCluster" not in emulator.books.calls


def test_a_later_cluster_of_the_same_name_is_not_this_runs(provider: Make, emulator: Emulator) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.clusters[PATH].resource_labels = {}
    emulator.books.clusters[PATH].id = "of another cluster"
    assert cluster.inventory().counts()["clusters"] == 0
    cluster.down()
    assert PATH in emulator.books.clusters and "DeleteCluster" not in emulator.books.calls


def test_one_that_was_asked_for_and_has_no_label_and_no_known_id_is_told(
    provider: Make, emulator: Emulator, machine: Machine
) -> None:
    cluster = provider()
    cluster.up()
    emulator.books.clusters[PATH].resource_labels = {}
    ledger_of(machine).note("gke", {"id": ""})  # killed before it learned it
    with pytest.raises(CloudError, match="never learned its id") as caught:
        cluster.down()
    assert (
        "gcloud container clusters delete my-istio-cluster --zone us-central1-b --project p"
        in caught.value.remedy
    )
    assert PATH in emulator.books.clusters


def test_the_id_is_written_down_as_soon_as_the_cluster_is_there(
    provider: Make, emulator: Emulator, machine: Machine
) -> None:
    emulator.books.bad_ends.append(BadEnd())
    with pytest.raises(CloudError):
        provider().up()
    noted = ledger_of(machine).noted("gke")
    assert noted["asked"] is True and len(noted["id"]) == 64


def test_a_creation_that_never_ends_is_deleted_all_the_same_at_the_deadline(
    provider: Make, emulator: Emulator
) -> None:
    look = emulator.books.look

    def endless(operation: Operation) -> Operation:
        creates = operation.operation_type == Operation.Type.CREATE_CLUSTER
        return operation if creates else look(operation)

    emulator.books.look = endless  # type: ignore[method-assign]
    began = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"the API to create the cluster.*could NOT be deleted") as caught:
        provider(create_timeout=0.4).up()
    del emulator.books.look  # type: ignore[method-assign]
    assert time.monotonic() - began < 5, "one deadline, and one clean-up"
    assert "DeleteCluster" in emulator.books.calls, "deletion is asked for although something goes on"
    assert "incompatible operation" in caught.value.message and f"--run {RUN}" in caught.value.remedy


def test_answers_that_are_lost_until_the_deadline_are_an_error_that_says_so(
    provider: Make, emulator: Emulator
) -> None:
    emulator.books.faults.append(Fault("CreateCluster", after=True))
    looked = len([call for call in emulator.books.calls if call == "GetCluster"])
    create = emulator.books.create

    def create_and_vanish(parent: str, wanted: Cluster) -> Operation:
        emulator.books.faults.append(Fault("GetCluster", times=10_000))
        return create(parent, wanted)

    emulator.books.create = create_and_vanish  # type: ignore[method-assign]
    with pytest.raises(CloudError, match="the API does not answer") as caught:
        provider(retry_seconds=0.3).up()
    del emulator.books.create  # type: ignore[method-assign]
    assert caught.value.kind == "unavailable" and looked == 0
    assert f"python -m flows.teardown --run {RUN}" in caught.value.remedy


def test_an_endless_operation_ends_the_wait_at_its_deadline(provider: Make, emulator: Emulator) -> None:
    emulator.books.look = lambda operation: operation  # type: ignore[method-assign]
    with pytest.raises(WaitTimeout, match="the API to create the cluster"):
        provider(create_timeout=0.2).up()
    del emulator.books.look  # type: ignore[method-assign]


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


def _request(cluster: GkeCluster) -> Cluster:
    from meshlab.clusters.gke.names import expires_in, labels
    from meshlab.clusters.gke.request import Version, cluster_of

    given = labels(cluster.run_id, "me", expires_in(1))
    return cluster_of(cluster.settings, Version("1.34.1-gke.2037000"), given)
