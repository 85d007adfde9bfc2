"""Faults of nodes: whose heartbeats are refused, and the waits around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import WaitTimeout
from meshlab.faults.fault import Site
from meshlab.faults.nodes import NODES, not_ready, wait_nodes_ready
from meshlab.faults.planting import heal
from meshlab.istio.istioctl import Istioctl
from meshlab.istio.mesh import Mesh
from meshlab.kube.changes import Changes
from meshlab.run.journal import create
from meshlab.run.ledger import Entry, Ledger
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube, make_pod

ADMISSION = "admissionregistration.k8s.io/v1"


def node(name: str, ready: str | None) -> dict[str, Any]:
    conditions = [] if ready is None else [{"type": "Ready", "status": ready}]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"conditions": conditions},
    }


def test_a_node_whose_kubelet_never_spoke_is_not_ready_either() -> None:
    kube = FakeKube([node("a", "True"), node("b", "Unknown"), node("c", None)])
    assert not_ready(kube) == ["b", "c"]  # type: ignore[arg-type]


def test_nodes_are_waited_for_and_the_one_that_stays_away_is_named() -> None:
    kube = FakeKube([node("a", "True"), node("b", "Unknown")])
    with pytest.raises(WaitTimeout, match="not Ready: b"):
        wait_nodes_ready(kube, clock=FakeClock())  # type: ignore[arg-type]
    kube.put(node("b", "True"))
    wait_nodes_ready(kube, clock=FakeClock())  # type: ignore[arg-type]


def test_the_heartbeats_of_details_node_alone_are_refused_and_the_ledger_knows_the_wait(
    tmp_path: Path,
) -> None:
    kube = FakeKube([node("node-1", "Unknown"), node("node-2", "True")])
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        kube.kinds[ADMISSION, kind] = False
    kube.put(make_pod("details-1", labels={"app": "details", "version": "v1"}))
    run = create(tmp_path / "runs", "sabotage")
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), run)
    site = Site(kube, Istioctl(Path("istioctl")), LabConfig(), Changes(kube, ledger, run), Mesh("default"))  # type: ignore[arg-type]
    fault = next(each for each in NODES if each.takes_nodes)
    fault.plant(site)
    policy = kube.get(ADMISSION, "ValidatingAdmissionPolicy", "sabotage-no-heartbeats")
    assert policy is not None
    [condition] = policy["spec"]["matchConditions"]
    assert condition["expression"] == "request.userInfo.username == 'system:node:node-1'"
    site.changes.restore()
    ledger.intend(Entry("nodes", "Ready", kube.host))
    kube.put(node("node-1", "True"))
    assert heal(kube, ledger) == ["nodes Ready"]  # type: ignore[arg-type]
    assert ledger.entries() == ()
