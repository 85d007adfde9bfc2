"""Planting writes to the ledger first; taking out needs nothing else, in this process or in the next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import KubeError
from meshlab.faults import planting
from meshlab.faults.fault import Fault, Site
from meshlab.faults.planting import CHANGES, firewall_of, plant, put_back, remove
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Ledger
from tests.fakes.kube import make_pod
from tests.fakes.mesh import FakeMesh
from tests.fakes.runner import FakeRunner

CONFIG = LabConfig(cluster="existing")
FILTERS = "networking.istio.io/v1alpha3"
ISTIOCTL = Istioctl(Path("istioctl"))


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "sabotage")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine.here({"HOME": str(tmp_path / "home")})


@pytest.fixture
def ledger(machine: Machine, run: RunRef) -> Ledger:
    return Ledger.open(machine, run)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The waits, which have tests of their own."""
    seen: list[dict] = []
    monkeypatch.setattr(planting, "wait_settled", lambda *_, **how: seen.append(how))
    return seen


def lab() -> FakeMesh:
    kube = FakeMesh([make_pod("details-1", namespace="meshlab", labels={"app": "details"})])
    kube.kinds[FILTERS, "EnvoyFilter"] = True
    return kube


def breaking(site: Site) -> None:
    metadata = {"name": "sabotage-x", "namespace": site.namespace}
    site.changes.apply({"apiVersion": FILTERS, "kind": "EnvoyFilter", "metadata": metadata, "spec": {}})


FAULT = Fault("f", "Broken", must=("app.bookinfo",), plant=breaking, heal=("app=details",))


def test_a_fault_is_planted_and_taken_out(ledger: Ledger, run: RunRef, settled: list[dict]) -> None:
    kube = lab()
    plant(FAULT, CONFIG, kube, ISTIOCTL, Mesh("meshlab"), ledger, run, None)
    assert kube.get(FILTERS, "EnvoyFilter", "sabotage-x", "meshlab") is not None
    assert {entry.kind for entry in ledger.entries()} == {"change", "restart"}
    assert settled == [{"rejecting": ("app=details",)}]
    done = remove(kube, ISTIOCTL, ledger, "meshlab", None)
    assert done == ("EnvoyFilter meshlab/sabotage-x", "restarted details-1")
    assert ledger.entries() == ()
    assert kube.get("v1", "Pod", "details-1", "meshlab") is None  # its controller makes a new one
    assert remove(kube, ISTIOCTL, ledger, "meshlab", None) == ()


def test_what_a_killed_run_left_is_taken_out_by_its_ledger(
    ledger: Ledger, run: RunRef, machine: Machine, settled: list[dict]
) -> None:
    kube = lab()
    plant(FAULT, CONFIG, kube, ISTIOCTL, Mesh("meshlab"), ledger, run, None)
    assert {entry.kind for entry in ledger.entries()} <= set(CHANGES)
    found = Ledger(ledger.path)
    done = put_back(kube, found, firewall_of(CONFIG, machine, FakeRunner(), found))
    assert len(done) == 2
    assert ledger.entries() == ()


def test_a_fault_that_can_not_be_planted_is_in_the_ledger_all_the_same(
    ledger: Ledger, run: RunRef, settled: list[dict]
) -> None:
    kube = lab()

    def refuse(verb: str, kind: str, name: str) -> None:
        if verb == "apply":
            raise KubeError("refused by a webhook")

    kube.refuse = refuse
    with pytest.raises(KubeError, match="refused by a webhook"):
        plant(FAULT, CONFIG, kube, ISTIOCTL, Mesh("meshlab"), ledger, run, None)
    assert settled == []
    assert remove(kube, ISTIOCTL, ledger, "meshlab", None)[-1] == "restarted details-1"


def test_prometheus_starts_again_without_the_fault(ledger: Ledger, run: RunRef, settled: list[dict]) -> None:
    kube = lab()
    label = {"app.kubernetes.io/name": "prometheus"}
    kube.put(make_pod("prometheus-1", namespace="istio-system", labels=label))
    fault = replace(FAULT, heal=(), restarts_prometheus=True)
    plant(fault, CONFIG, kube, ISTIOCTL, Mesh("meshlab"), ledger, run, None)
    assert kube.get("v1", "Pod", "prometheus-1", "istio-system") is not None
    assert "restarted prometheus-1" in remove(kube, ISTIOCTL, ledger, "meshlab", None)
    assert ledger.entries() == ()
