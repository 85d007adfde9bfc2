"""Mutual TLS on the living mesh: the run's proof has numbers, and captures on the wrong interface prove nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshlab.checks import mtls
from meshlab.clusters.local.images import replacement
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio.distribution import locate
from meshlab.istio.facts import read_facts
from meshlab.istio.images import in_cluster
from meshlab.istio.istioctl import Istioctl
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Ledger
from meshlab.run.results import Verdict
from meshlab.security.mtls import stage
from tests.live.conftest import NAME, Ran

pytestmark = pytest.mark.live
KINDS = (
    *(("v1", kind) for kind in ("Namespace", "Service", "ServiceAccount", "ConfigMap", "Secret")),
    *(("apps/v1", kind) for kind in ("Deployment", "DaemonSet", "StatefulSet")),
    *(("networking.istio.io/v1", kind) for kind in ("DestinationRule", "VirtualService", "Gateway")),
    *(("security.istio.io/v1", kind) for kind in ("PeerAuthentication", "AuthorizationPolicy")),
    ("networking.istio.io/v1alpha3", "EnvoyFilter"),
    ("telemetry.istio.io/v1", "Telemetry"),
)
# What the cluster writes by itself while nobody changes anything.
MOVING = ("managedFields", "resourceVersion", "generation")
LEADER = "control-plane.alpha.kubernetes.io/leader"  # an annotation that a leader renews


def inventory(kube: Kube) -> dict[str, Any]:
    """Every object of KINDS as it is, but for what the cluster moves by itself."""
    return {
        f"{kind} {each['metadata'].get('namespace')}/{each['metadata']['name']}": {
            **{key: value for key, value in each.items() if key not in ("status", "metadata")},
            "metadata": {key: value for key, value in each["metadata"].items() if key not in MOVING},
        }
        for api, kind in KINDS
        for each in kube.objects(api, kind)
        if LEADER not in (each["metadata"].get("annotations") or {})
    }


@pytest.fixture
def kubeconfig(kept_lab: Ran, machine: Machine) -> Path:
    return machine.state / "clusters" / NAME / "kubeconfig"


@pytest.fixture
def kube(kubeconfig: Path) -> Kube:
    return Kube.connect(kubeconfig, NAME)


@pytest.fixture
def changes(kube: Kube, tmp_path: Path) -> Iterator[Changes]:
    run: RunRef = create(tmp_path, "full-lab")
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path)}), run)
    with Changes(kube, ledger, run) as mine:
        yield mine
    assert ledger.entries() == ()


def test_the_run_proved_it_with_numbers(kept_lab: Ran) -> None:
    for check_id in (mtls.REFUSAL, mtls.PACKETS, mtls.IDENTITY, mtls.COUNTER):
        assert kept_lab.check(check_id)["verdict"] == "pass", kept_lab.check(check_id)
    *wire, control = kept_lab.check(mtls.PACKETS)["evidence"]["wire"]
    assert len(wire) == 7
    assert all(row["tls_records"] and not row["wire_markers"] and row["app_markers"] for row in wire)
    assert control["wire_markers"] == control["requests"] and not control["tls_records"]
    assert any("→" in row["nodes"] for row in wire), "no edge crosses two nodes"
    rows = kept_lab.check(mtls.COUNTER)["evidence"]["edges"]
    assert all(row["sent"] == row["mutual_tls"] > 0 and row["other"] == 0 for row in rows)
    text = (kept_lab.directory / "result.json").read_text()  # type: ignore[operator]
    assert "PRIVATE KEY" not in text and "BEGIN CERTIFICATE" not in text


def test_captures_on_the_wrong_interface_are_broken_and_nothing_stays(
    kubeconfig: Path, kube: Kube, changes: Changes, machine: Machine
) -> None:
    config, images = LabConfig(), in_cluster(kube)
    distribution = locate(config, machine=machine, images=images)
    istioctl = Istioctl(distribution.istioctl, kubeconfig=kubeconfig)
    image = replacement("curlimages/curl", images)
    assert image is not None
    before = inventory(kube)
    stage.begin(kube, changes, changes, istioctl, config, read_facts(kube, config.namespace))
    assert inventory(kube) != before  # the control of the comparison below
    found = stage.gather(kube, config, image=image, interfaces=("lo", "lo"))
    assert isinstance(found.window, stage.Window), found.window
    verdict = mtls.packets(found.edges, found.window)
    assert verdict.verdict is Verdict.BROKEN, verdict
    assert "0 of 3 markers on lo of the pair without mTLS" in (verdict.reason or "")
    changes.restore()
    assert inventory(kube) == before
