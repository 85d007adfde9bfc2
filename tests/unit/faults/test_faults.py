"""The catalogue of faults: what each declares can be asked for, and what each plants is what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.checks.base import CATALOG
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import ClusterError, KubeError
from meshlab.faults import faults
from meshlab.faults.fault import GROUPS, NO_FAULT, Fault, Site, nothing
from meshlab.istio.control_plane import ControlPlane
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes, restore_left
from meshlab.kube.fingerprint import KINDS
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Ledger
from tests.fakes.kube import FakeKube, make_pod

FIREWALL = "edge-cut-by-firewall"


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "sabotage")


@pytest.fixture
def ledger(tmp_path: Path, run: RunRef) -> Ledger:
    return Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), run)


def lab() -> FakeKube:
    kube = FakeKube()
    kube.kinds |= dict.fromkeys(KINDS, True)
    for name in ("productpage", "details"):
        kube.put(make_pod(f"{name}-1", labels={"app": name, "version": "v1"}))
    for namespace, name in (("default", "details-v1"), ("istio-system", "istiod")):
        meta = {"name": name, "namespace": namespace}
        kube.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 1}})
    return kube


def site(kube: FakeKube, ledger: Ledger, run: RunRef) -> Site:
    return Site(kube, Istioctl(Path("istioctl")), LabConfig(), Changes(kube, ledger, run), Mesh("default"))


def test_there_are_at_least_ten_and_their_names_are_their_own() -> None:
    assert len(faults.FAULTS) >= 10
    assert len(set(faults.NAMES)) == len(faults.NAMES)


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_declares_checks_that_exist_and_that_are_made(fault: Fault) -> None:
    assert fault.must
    assert not set(fault.must) & set(fault.may)
    assert set(fault.groups) <= set(GROUPS)
    made = set(fault.checks)
    assert {*fault.must, *fault.may} <= made <= set(CATALOG)
    assert made - {*fault.must, *fault.may}, "some check must stay green, or a dead lab would be a catch"
    assert (fault.plant is nothing) == (fault.edge != NO_FAULT)
    assert fault.title and fault.scope in ("namespace", "mesh")


@pytest.mark.parametrize(
    "fault",
    [each for each in faults.FAULTS if each.plant is not nothing and each.name != FIREWALL],
    ids=lambda fault: fault.name,
)
def test_what_a_fault_plants_is_put_back_by_the_ledger_alone(
    fault: Fault, ledger: Ledger, run: RunRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "wait_not_scraped", lambda *_: None)
    kube = lab()
    before = dict(kube.store)
    fault.plant(site(kube, ledger, run))
    assert kube.store != before
    touched = {key for key in kube.store.keys() | before.keys() if kube.store.get(key) != before.get(key)}
    if fault.scope == "namespace":
        assert {namespace for _, _, namespace, _ in touched} == {"default"}
    restore_left(kube, ledger)
    assert kube.store == before
    assert ledger.entries() == ()


def test_the_firewall_is_asked_to_cut_the_edge_on_the_callers_node(ledger: Ledger, run: RunRef) -> None:
    class FakeFirewall:
        cuts: tuple = ()

        def cut(self, *what: object) -> None:
            self.cuts = (*self.cuts, what)

    kube, firewall = lab(), FakeFirewall()
    plain = site(kube, ledger, run)
    [fault] = faults.choose(["edge-cut-by-firewall"])
    fault.plant(Site(kube, plain.istioctl, plain.config, plain.changes, plain.mesh, firewall))
    assert firewall.cuts == (("node-1", "10.0.0.1", "10.0.0.1", 9080),)
    with pytest.raises(ClusterError, match="nodes can't be entered"):
        fault.plant(plain)


def test_a_fault_whose_pod_is_missing_says_so(ledger: Ledger, run: RunRef) -> None:
    [fault] = faults.choose(["prometheus-not-scraping"])
    with pytest.raises(KubeError, match="no Ready pod of productpage-v1 in default"):
        fault.plant(site(FakeKube(), ledger, run))


def test_faults_are_chosen_by_name_in_the_catalogues_order() -> None:
    assert faults.choose() == faults.FAULTS
    names = [fault.name for fault in faults.choose([faults.NAMES[3], faults.NAMES[1]])]
    assert names == [faults.NAMES[1], faults.NAMES[3]]
    with pytest.raises(KeyError, match="no fault nope; there are "):
        faults.choose(["nope"])


@pytest.mark.parametrize(
    ("name", "scope", "local", "why"),
    [
        ("istiod-stopped", "mesh", True, ""),
        ("istiod-stopped", "namespace", True, "needs scope mesh"),
        ("edge-cut-by-firewall", "mesh", False, "needs a node of the local cluster"),
        ("abort-10-percent", "namespace", False, ""),
        ("abort-10-percent", "observe", False, "needs scope namespace"),
    ],
)
def test_what_can_not_be_planted_somewhere_says_why(name: str, scope: str, local: bool, why: str) -> None:
    [fault] = faults.choose([name])
    assert faults.why_not(fault, scope, local=local) == why


def test_a_fault_is_planted_under_the_meshs_own_names(ledger: Ledger, run: RunRef) -> None:
    kube = lab()
    meta = {"name": "istiod-stable", "namespace": "mesh"}
    kube.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 1}})
    plane = ControlPlane("istiod-stable", "mesh", "stable", True)
    mesh = Mesh("default", (plane,), plane, trust_domain="corp.example", cluster_domain="pasta.local")
    plain = site(kube, ledger, run)
    for fault in faults.choose(["istiod-stopped", "wrong-service-account", "tls-switched-off"]):
        fault.plant(Site(kube, plain.istioctl, plain.config, plain.changes, mesh))
    assert kube.get("apps/v1", "Deployment", "istiod-stable", "mesh")["spec"]["replicas"] == 0
    assert kube.get("apps/v1", "Deployment", "istiod", "istio-system")["spec"]["replicas"] == 1
    policy = kube.get("security.istio.io/v1", "AuthorizationPolicy", "sabotage-wrong-account", "default")
    [rule] = policy["spec"]["rules"]
    assert rule["from"] == [{"source": {"principals": ["corp.example/ns/default/sa/nobody"]}}]
    found = kube.get("networking.istio.io/v1", "DestinationRule", "sabotage-no-tls", "default")
    assert found["spec"]["host"] == "reviews.default.svc.pasta.local"


def test_the_object_of_a_fault_is_named_as_causes_name_it() -> None:
    named = {each.name: faults.object_of(each, "shop") for each in faults.FAULTS}
    assert named["abort-10-percent"] == "VirtualService shop/sabotage-abort"
    assert named["istiod-stopped"] is None
