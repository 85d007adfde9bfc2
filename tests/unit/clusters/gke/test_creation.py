"""A cluster on GKE is made, or one of ours adopted: lost answers, bad ends, and what never ends."""

from collections.abc import Callable

import pytest
from google.cloud.container_v1.types import Cluster, Operation, StatusCondition

from meshlab.clusters.gke.cluster import GkeCluster
from meshlab.clusters.gke.creation import CLEAN_UP
from meshlab.config.settings import Machine
from meshlab.core.errors import CloudError, ClusterBusyError, InputError, WaitTimeout
from tests.fakes.clock import FakeClock
from tests.fakes.gke.books import BadEnd, Fault, Status
from tests.fakes.gke.emulator import Emulator
from tests.unit.clusters.gke.conftest import PATH, ledger_of

Make = Callable[..., GkeCluster]
RUN, OTHER = "20260101t000000z-aaaa", "20260102t000000z-bbbb"


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


def test_a_broken_one_of_ours_is_made_anew(provider: Make, emulator: Emulator) -> None:
    first = provider(OTHER, ledger=False)
    emulator.books.bad_ends.append(BadEnd())
    emulator.books.create(first.place.parent, _request(first))
    assert not provider().up().adopted
    assert emulator.books.clusters[PATH].status == Cluster.Status.RUNNING


def test_a_lost_answer_to_the_creation_does_not_make_a_second_one(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("CreateCluster", after=True))
    assert not provider().up().adopted
    assert emulator.books.calls.count("CreateCluster") == 1


def test_a_lost_request_is_made_again(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("CreateCluster", times=2))
    provider().up()
    assert emulator.books.calls.count("CreateCluster") == 3


def test_a_slow_answer_is_awaited(provider: Make, emulator: Emulator) -> None:
    emulator.books.faults.append(Fault("CreateCluster", code=None, seconds=0.2))
    emulator.books.faults.append(Fault("GetOperation", times=3))
    assert provider().up().nodes == 3


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
    clock = FakeClock()
    cluster = provider(clock=clock, create_timeout=1800, poll_seconds=60)
    with pytest.raises(WaitTimeout, match=r"the API to create the cluster.*could NOT be deleted") as caught:
        cluster.up()
    del emulator.books.look  # type: ignore[method-assign]
    assert 1800 <= clock.time <= 1800 + CLEAN_UP + 3 * 60, "one deadline for all, and one clean-up"
    assert "DeleteCluster" in emulator.books.calls, "deletion is asked for although something goes on"
    assert "incompatible operation" in caught.value.message and f"--run {RUN}" in caught.value.remedy


def test_a_stock_out_that_only_the_cluster_tells_is_one_and_what_was_half_made_is_deleted(
    provider: Make, emulator: Emulator
) -> None:
    said = "Google Compute Engine does not have enough resources available to fulfill request: us-central1-b."
    emulator.books.bad_ends.append(BadEnd(0, said))
    with pytest.raises(CloudError) as caught:
        provider().up()
    assert caught.value.kind == "stock-out"
    assert "us-central1-a, us-central1-c, us-central1-f" in caught.value.remedy
    assert emulator.books.left() == {}


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


def _request(cluster: GkeCluster) -> Cluster:
    from meshlab.clusters.gke.names import expires_in, labels
    from meshlab.clusters.gke.request import Version, cluster_of

    given = labels(cluster.run_id, "me", expires_in(1))
    return cluster_of(cluster.settings, Version("1.34.1-gke.2037000"), given)
