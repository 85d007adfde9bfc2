"""One run per cluster: who holds it, who is refused, and when a Lease may be taken over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshlab.config.settings import LabConfig
from meshlab.core.errors import ClusterBusyError, Interrupted, KubeError
from meshlab.shared_cluster.lease import API, DURATION, KIND, NAME, ClusterHold, places
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube


def cluster(*namespaces: str) -> FakeKube:
    kube = FakeKube(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in namespaces
    )
    kube.kinds[API, KIND] = True
    return kube


def lease(kube: FakeKube, namespace: str = "shop") -> dict[str, Any]:
    found = kube.get(API, KIND, NAME, namespace)
    assert found is not None
    return found


def hold(kube: FakeKube, run_id: str, *where: str, clock: FakeClock | None = None) -> ClusterHold:
    return ClusterHold(kube, run_id, where or ("shop",), clock=clock or FakeClock())  # type: ignore[arg-type]


def age(kube: FakeKube, seconds: float) -> None:
    found = lease(kube)
    found["spec"]["renewTime"] = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    kube.put(found)


def test_the_second_run_is_told_who_holds_it() -> None:
    kube = cluster("shop")
    first, second = hold(kube, "run-1"), hold(kube, "run-2")
    first.acquire()
    with pytest.raises(
        ClusterBusyError, match=r"another run holds this cluster: run run-1 of .+@.+, since 20"
    ) as busy:
        second.acquire()
    assert "Lease shop/meshlab-run" in busy.value.message and "expires" in busy.value.remedy
    first.release()
    second.acquire()
    assert lease(kube)["spec"]["holderIdentity"].startswith("run-2 ")
    second.release()
    assert kube.get(API, KIND, NAME, "shop") is None


def test_the_namespace_and_the_lease_have_the_labels_that_the_cluster_demands() -> None:
    kube = cluster()
    ours = ClusterHold(kube, "run-1", ("shop",), demanded={"team": "mesh"}, clock=FakeClock())  # type: ignore[arg-type]
    ours.acquire()
    space = kube.get("v1", "Namespace", "shop")
    assert space is not None
    for found in (space, lease(kube)):
        assert found["metadata"]["labels"].items() >= {"team": "mesh", "meshlab/run": "run-1"}.items()
    ours.release()
    assert kube.get("v1", "Namespace", "shop") is None


def test_an_expired_lease_is_taken_over_after_it_was_watched() -> None:
    kube, clock = cluster("shop"), FakeClock()
    first = hold(kube, "run-1")
    first.acquire()
    age(kube, DURATION + 1)
    start = clock.now()
    second = hold(kube, "run-2", clock=clock)
    second.acquire()
    assert clock.now() - start >= 10 and lease(kube)["spec"]["leaseTransitions"] == 1
    first.release()  # the dead run's, should it wake up: not its own any more
    assert lease(kube)["spec"]["holderIdentity"].startswith("run-2 ")
    with pytest.raises(ClusterBusyError, match="was taken from this run: run run-2"):
        first._held.append("shop")
        first.renew()
    second.release()


def test_a_holder_whose_clock_is_late_keeps_it() -> None:
    kube = cluster("shop")
    first = hold(kube, "run-1")
    first.acquire()
    age(kube, DURATION + 1)

    class Renewing(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            age(kube, DURATION + 1)  # renewed meanwhile, by a clock that is behind

    with pytest.raises(ClusterBusyError):
        hold(kube, "run-2", clock=Renewing()).acquire()
    first.release()


def test_a_race_is_lost_by_one() -> None:
    kube = cluster("shop")

    def too_late(verb: str, kind: str, name: str) -> None:
        if (verb, kind) == ("create", KIND):
            raise KubeError("exists", status=409)

    kube.refuse = too_late
    with pytest.raises(ClusterBusyError, match="at the same moment"):
        hold(kube, "run-1").acquire()


def test_all_leases_or_none() -> None:
    kube = cluster("shop", "kube-system")
    other = hold(kube, "run-1", "shop")
    other.acquire()
    with pytest.raises(ClusterBusyError):
        hold(kube, "run-2", "kube-system", "shop").acquire()
    assert kube.get(API, KIND, NAME, "kube-system") is None
    other.release()


def test_renewing_keeps_it_alive_and_a_lease_that_went_with_its_namespace_is_let_go() -> None:
    kube = cluster("shop")
    mine = hold(kube, "run-1")
    mine.acquire()
    age(kube, 30)
    mine.renew()
    renewed = datetime.fromisoformat(lease(kube)["spec"]["renewTime"])
    assert datetime.now(UTC) - renewed < timedelta(seconds=10)
    kube.delete(API, KIND, NAME, "shop")
    mine.renew()
    mine.release()


def test_a_namespace_that_was_made_for_it_goes_with_it() -> None:
    kube = cluster()
    mine = hold(kube, "run-1")
    mine.acquire()
    assert kube.get("v1", "Namespace", "shop")["metadata"]["labels"]["meshlab/run"] == "run-1"  # type: ignore[index]
    mine.release()
    assert kube.get("v1", "Namespace", "shop") is None
    kept = hold(kube, "run-2")
    kept.acquire()
    kube.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop"}})
    kept.release()
    assert kube.get("v1", "Namespace", "shop") is not None


def test_where_the_leases_are() -> None:
    assert places(LabConfig(cluster="existing")) == ("meshlab",)
    assert places(LabConfig(cluster="existing", allow_changes=True)) == ("kube-system", "meshlab")


def test_a_namespace_that_is_still_going_is_waited_for_and_made_again() -> None:
    kube = cluster()
    going = {"name": "shop", "deletionTimestamp": "2026-11-23T22:00:00Z"}
    kube.put({"apiVersion": "v1", "kind": "Namespace", "metadata": going})
    clock = FakeClock(on_sleep=lambda _: kube.delete("v1", "Namespace", "shop"))
    first = hold(kube, "run-1", clock=clock)
    first.acquire()
    assert lease(kube)["spec"]["holderIdentity"].startswith("run-1 ")
    assert clock.slept
    first.release()


class Slow(FakeKube):
    """What is deleted in the foreground stays, marked, as until the garbage collector comes by."""

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, *, foreground: bool = True
    ) -> bool:
        found = self.get(api_version, kind, name, namespace)
        if kind == "Namespace" or not foreground or found is None:
            return super().delete(api_version, kind, name, namespace, foreground=foreground)
        found["metadata"]["deletionTimestamp"] = "2026-11-23T22:00:00Z"
        self.put(found)
        return True


def test_its_own_lease_on_the_way_out_does_not_keep_the_namespace() -> None:
    kube = Slow()
    kube.kinds[API, KIND] = True
    mine = hold(kube, "run-1")
    mine.acquire()
    mine.release()
    assert kube.get("v1", "Namespace", "shop") is None
    again = hold(kube, "run-2")
    again.acquire()
    other = {**lease(kube), "metadata": {"name": "other", "namespace": "shop"}}
    kube.put({**other, "spec": {"holderIdentity": "run-3 somebody"}})
    again.release()
    assert kube.get("v1", "Namespace", "shop") is not None


@pytest.mark.parametrize("made", ["Namespace", "Lease"])
def test_a_signal_that_comes_while_it_is_taken_leaves_nothing(made: str) -> None:
    class Signalled(FakeKube):
        def create(self, document: Mapping[str, Any], *, namespace: str | None = None) -> dict[str, Any]:
            stored = super().create(document, namespace=namespace)
            if document["kind"] == made:
                raise Interrupted(15)
            return stored

    kube = Signalled()
    kube.kinds[API, KIND] = True
    with pytest.raises(Interrupted):
        hold(kube, "run-1").acquire()
    assert kube.store == {}
