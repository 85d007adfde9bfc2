"""What a killed run left on a cluster of others."""

from pathlib import Path

import pytest

from meshlab.config.settings import Machine
from meshlab.istio.tracing import API_VERSION, KIND, Before, note
from meshlab.kube.applied import note as note_object
from meshlab.kube.apply import ObjectRef
from meshlab.run.journal import create
from meshlab.run.ledger import Entry, Ledger
from meshlab.shared_cluster import lease
from meshlab.shared_cluster.cleanup import left_here, take_out
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube

PAGE = ObjectRef("v1", "Service", "shop", "page")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Ledger.open(Machine.here(), create(tmp_path / "runs", "nightly-validation"))


def shop(**labels: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": labels}}


def cluster(ledger: Ledger, namespace: dict[str, object]) -> FakeKube:
    kube = FakeKube([namespace])
    kube.kinds[API_VERSION, KIND] = kube.kinds[lease.API, lease.KIND] = True
    telemetry = {"name": "meshlab-tracing", "namespace": "shop"}
    kube.put({"apiVersion": API_VERSION, "kind": KIND, "metadata": telemetry, "spec": {}})
    for name in ("page", "theirs"):
        kube.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}})
    note(kube, ledger, Before("shop", "meshlab-tracing", made=True))  # type: ignore[arg-type]
    note_object(kube, ledger, PAGE)  # type: ignore[arg-type]
    ledger.intend(Entry("app", "shop", ""))
    return kube


def take(kube: FakeKube, ledger: Ledger) -> None:
    for _ in range(2):
        take_out(kube, ledger, "shop", clock=FakeClock())  # type: ignore[arg-type]


def test_what_it_applied_goes_and_what_others_have_stays(ledger: Ledger) -> None:
    kube = cluster(ledger, shop())
    take(kube, ledger)
    assert [key[1:] for key in kube.store] == [("Namespace", None, "shop"), ("Service", "shop", "theirs")]
    assert ledger.entries() == ()


def test_a_namespace_that_was_made_for_it_goes(ledger: Ledger) -> None:
    kube = cluster(ledger, shop(**{"meshlab/run": ledger.run_id}))
    take(kube, ledger)
    assert kube.get("v1", "Namespace", "shop") is None


def test_what_is_on_another_cluster_is_still_owed(ledger: Ledger) -> None:
    kube = cluster(ledger, shop())
    there = Entry("object", "Service shop/page", "https://elsewhere.test", "{}")
    istio = Entry("istio", "prod", "")
    ledger.intend(there)
    ledger.intend(istio)
    take(kube, ledger)
    assert set(ledger.entries()) == {there, istio, Entry("app", "shop", "")}


def test_the_next_run_keeps_the_namespace_that_it_works_in_and_answers_for_it(ledger: Ledger) -> None:
    kube = cluster(ledger, shop(**{"meshlab/run": ledger.run_id}))
    assert left_here(kube, ledger)  # type: ignore[arg-type]
    removed = take_out(kube, ledger, "shop", adopting_run="run-2", clock=FakeClock())  # type: ignore[arg-type]
    assert removed == (PAGE,) and not left_here(kube, ledger)  # type: ignore[arg-type]
    assert kube.get("v1", "Namespace", "shop")["metadata"]["labels"]["meshlab/run"] == "run-2"  # type: ignore[index]


@pytest.mark.parametrize(("who", "stays"), [("run-3", True), ("run-2", False), ("", False)])
def test_where_another_run_works_everything_stays(who: str, stays: bool, ledger: Ledger) -> None:
    kube = cluster(ledger, shop())
    holder = f"{who or ledger.run_id} somebody@somewhere"
    meta = {"name": lease.NAME, "namespace": "shop"}
    spec = {"holderIdentity": holder}
    kube.put({"apiVersion": lease.API, "kind": lease.KIND, "metadata": meta, "spec": spec})
    removed = take_out(kube, ledger, "elsewhere", adopting_run="run-2", clock=FakeClock())  # type: ignore[arg-type]
    assert (removed == ()) is stays and bool(ledger.entries()) is stays
