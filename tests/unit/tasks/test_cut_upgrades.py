"""What an upgrade that was cut off leaves on a cluster that stays: who owes it, and what the next run there does."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import IstioError
from meshlab.istio.control_plane import control_planes
from meshlab.istio.revision import proxies_of_revision, revision_inventory
from meshlab.istio.roll_back import begin_retiring, take_back
from meshlab.istio.upgrade import MOVED, RETIRING, REVISION, UpgradePlan, intend_revision, move, plan_upgrade
from meshlab.kube.applied import note
from meshlab.kube.apply import ObjectRef
from meshlab.kube.changes import Changes
from meshlab.lifecycle.context import begin_context
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.run.ledger import Entry, Ledger
from tasks import cluster
from tasks.cluster import put_back_orphans, release_cluster
from tests.fakes.clock import FakeClock
from tests.fakes.mesh import make_object
from tests.fakes.rollout import RollingMesh, control_plane, two_namespaces


@pytest.mark.parametrize("kind", [MOVED, REVISION, RETIRING])
@pytest.mark.parametrize("provider", ["existing", "local"])
def test_a_kept_cluster_whose_upgrade_is_half_way_is_still_owed(
    provider: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    config = LabConfig.model_validate({"cluster": provider})
    run = begin_context(create(tmp_path / "runs", "upgrade"), config, Machine.here()).run
    ledger = Ledger.open(Machine.here(), run)
    entries = (Entry("cluster", config.local.name, "local"), Entry(kind, "shop", "https://there", "{}"))
    for entry in entries:
        ledger.intend(entry)
    release_cluster.fn(run, config)
    assert ledger.entries() == entries


THERE = ClusterRef("existing", "c", Path("kubeconfig"))
NEW, SYSTEM = "1-31-0", "istio-system"


class Cut:
    """A run that was killed in an upgrade: one namespace is moved, the gateways were about to be."""

    def __init__(self, mesh: RollingMesh, folder: Path, machine: Machine) -> None:
        self.mesh, self.machine, self.folder = mesh, machine, folder
        run = create(folder / "killed", "upgrade")
        self.ledger = Ledger.open(machine, run)
        self.plan: UpgradePlan = plan_upgrade(mesh, control_planes(mesh)[0], "1.31.0")
        intend_revision(mesh, self.ledger, self.plan)
        for each in control_plane(NEW, "1.31.0"):
            mesh.put(each)
        shop = next(each for each in self.plan.moves if each.namespace == "shop")
        move(mesh, self.ledger, shop, NEW, timeout=30, clock=FakeClock())
        gateway = ObjectRef("v1", "Service", SYSTEM, "istio-ingressgateway")
        mesh.put(make_object("v1", "Service", gateway.name, SYSTEM))
        Changes(mesh, self.ledger, run).keep(gateway)
        mesh.put(make_object("v1", "Service", gateway.name, SYSTEM, changed="yes"))
        note(mesh, self.ledger, ObjectRef("v1", "Namespace", None, "shop-upgrade"))
        mesh.put(make_object("v1", "Namespace", "shop-upgrade"))
        content = json.loads(self.ledger.path.read_text())
        self.ledger.path.write_text(json.dumps({**content, "pid": 2**22 - 1, "process_started": 1.0}))
        mesh.calls.clear()

    def next_run(self, flow: str = "nightly", *, allow_changes: bool = True) -> RunRef:
        """Another run comes to the cluster."""
        config = LabConfig.model_validate(
            {"cluster": "existing", "allow_changes": allow_changes, "app": {"namespace": "shop"}}
        )
        run = begin_context(create(self.folder / "runs", flow), config, self.machine).run
        put_back_orphans(run, THERE, self.machine, config)
        return run


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cut:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    mesh = two_namespaces()
    mesh.kinds["v1", "Secret"] = True
    monkeypatch.setattr(cluster, "kube_of", lambda _: mesh)
    monkeypatch.setattr(cluster, "take_back", partial(take_back, clock=FakeClock()))
    return Cut(mesh, tmp_path, Machine.here())


def warnings(run: RunRef) -> list[str]:
    return [each["text"] for each in read_journal(run) if each["event"] == "warning"]


def test_the_next_run_that_may_change_the_mesh_takes_an_upgrade_back(cut: Cut) -> None:
    run = cut.next_run()
    assert warnings(run) == [] and cut.ledger.entries() == ()
    assert len(proxies_of_revision(cut.mesh, "default")) == 3
    assert not any(revision_inventory(cut.mesh, NEW, SYSTEM).values())
    assert cut.mesh.get("v1", "Namespace", "shop-upgrade") is None, "what it had applied goes after that"
    assert "labels" not in cut.mesh.get("v1", "Service", "istio-ingressgateway", SYSTEM)["metadata"]


def test_one_that_may_not_change_the_mesh_says_so_and_goes_on(cut: Cut) -> None:
    before = cut.ledger.entries()
    run = cut.next_run(allow_changes=False)
    assert cut.mesh.calls == [] and cut.ledger.entries() == before
    [told] = warnings(run)
    assert "--allow-changes" in told and cut.ledger.run_id in told


def test_what_can_not_be_taken_back_is_a_warning_and_an_upgrade_does_not_begin_on_it(cut: Cut) -> None:
    cut.mesh.frozen = {"web"}
    run = cut.next_run()
    [told] = warnings(run)
    assert "web" in told and str(cut.ledger.path) in told
    assert proxies_of_revision(cut.mesh, NEW) == ("shop/web-1",)
    assert cut.mesh.get("v1", "Namespace", "shop-upgrade") is not None, "nothing of its run is touched"
    upgrade = cut.next_run("upgrade")
    with pytest.raises(IstioError, match=cut.ledger.run_id):
        cluster.refuse_half_way(upgrade, THERE)


def test_an_old_revision_that_was_being_removed_is_removed(cut: Cut) -> None:
    mesh = cut.mesh
    for one in cut.plan.moves:
        move(mesh, cut.ledger, one, NEW, timeout=30, clock=FakeClock())
    begin_retiring(mesh, cut.ledger, cut.plan)
    assert warnings(cut.next_run()) == [] and cut.ledger.entries() == ()
    assert [plane.revision for plane in control_planes(mesh)] == [NEW]
    assert len(proxies_of_revision(mesh, NEW)) == 3
