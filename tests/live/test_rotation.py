"""The rotation drill on the living lab: every proxy gets every chain under load, and a frozen one is seen in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.checks import rotation
from meshlab.config.settings import LabConfig, Machine
from meshlab.istio.facts import read_facts
from meshlab.kube.changes import Changes
from meshlab.kube.client import Kube
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from meshlab.run.results import Verdict
from meshlab.security.rotation.authorities import PLUGGED, own_authority
from meshlab.security.rotation.drill import SHORT, Drill, new_connections
from tasks.rotation import rotate, under_load
from tests.live.conftest import NAME, Ran
from tests.unit.security.rotation.test_drill import FROZEN

pytestmark = [pytest.mark.live, pytest.mark.long]


def test_every_proxy_gets_every_chain_and_a_frozen_one_is_seen_before_anything_expires(
    kept_lab: Ran, machine: Machine, tmp_path: Path
) -> None:
    kube = Kube.connect(machine.state / "clusters" / NAME / "kubeconfig", NAME)
    run, mesh = create(tmp_path, "test"), read_facts(kube, LabConfig().namespace)
    ledger = Ledger.open(Machine.here({"HOME": str(tmp_path)}), run)
    own = own_authority(kube, mesh.system_namespace)
    with Changes(kube, ledger, run) as changes, Changes(kube, ledger, run) as authority:
        drill = Drill(kube, mesh, changes, authority)
        changes.apply(new_connections(mesh))
        drill.shorten()
        steps, sent = under_load(kube, mesh, lambda steps: steps.append(drill.await_renewed()))
        leaf = rotation.leaf(steps[0], sent)
        root = rotation.root(*under_load(kube, mesh, lambda steps: rotate(drill, own, steps)))
        drill.finish()
        changes.apply(new_connections(mesh))
        drill.shorten(lambda name: FROZEN if name == "ratings-v1" else SHORT)
        steps, sent = under_load(kube, mesh, lambda steps: steps.append(drill.await_renewed()))
        frozen = rotation.leaf(steps[0], sent)
        drill.finish()
    assert leaf.verdict is Verdict.PASS, leaf
    assert root.verdict is Verdict.PASS, root
    assert [row["step"] for row in root.evidence["steps"]] == [
        "intermediate", "root", "back to the first root", "put back",
    ]  # fmt: skip
    assert frozen.verdict is Verdict.FAIL and "frozen at ratings-v1" in frozen.summary, frozen
    assert frozen.evidence["steps"][0]["valid for another, in seconds"] > 30
    assert own_authority(kube, mesh.system_namespace).certificate == own.certificate
    assert kube.get("v1", "Secret", PLUGGED, mesh.system_namespace) is None and ledger.entries() == ()
