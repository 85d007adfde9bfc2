"""A roll-back tries everything, whatever fails of it; and past the point of no return the old revision goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.istio.control_plane import control_planes
from meshlab.istio.revision import proxies_of_revision, revision_inventory, tag_refs
from meshlab.istio.roll_back import (
    begin_retiring,
    finish_retiring,
    not_removed,
    owes_here,
    pass_no_return,
    retires_here,
    take_back,
)
from meshlab.istio.upgrade import (
    MOVED,
    RETIRING,
    REVISION,
    UpgradePlan,
    intend_revision,
    move,
    owes,
    plan_upgrade,
    settle_labels,
)
from meshlab.kube.changes import KIND as CHANGE
from meshlab.kube.changes import Changes
from meshlab.run.journal import RunRef, create
from meshlab.run.ledger import Entry, Ledger
from tests.fakes.clock import FakeClock
from tests.fakes.istio_objects import webhooks
from tests.fakes.kube import make_pod
from tests.fakes.mesh import make_object
from tests.fakes.rollout import RollingMesh, control_plane, two_namespaces

NEW, SYSTEM = "1-31-0", "istio-system"


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    return create(tmp_path / "runs", "upgrade")


@pytest.fixture
def ledger(run: RunRef, tmp_path: Path) -> Ledger:
    return Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), run)


@pytest.fixture
def mesh() -> RollingMesh:
    return two_namespaces()


def begun(mesh: RollingMesh, ledger: Ledger, *namespaces: str) -> UpgradePlan:
    """The new revision is installed, and these namespaces are moved."""
    plan = plan_upgrade(mesh, control_planes(mesh)[0], "1.31.0")
    intend_revision(mesh, ledger, plan)
    for each in control_plane(NEW, "1.31.0"):
        mesh.put(each)
    for one in plan.moves:
        if one.namespace in namespaces:
            move(mesh, ledger, one, NEW, timeout=30, clock=FakeClock())
    mesh.calls.clear()
    return plan


def back(mesh: RollingMesh, ledger: Ledger, **options: Any):
    return take_back(mesh, ledger, timeout=30, clock=FakeClock(), **options)


def restarted(mesh: RollingMesh) -> set[str]:
    return {name for verb, kind, name in mesh.calls if verb == "patch" and kind != "Namespace"}


def deactivated(hooks: dict[str, Any]) -> dict[str, Any]:
    """The webhooks of the default revision, once a tag has taken the label istio-injection from them."""
    kept = [each for each in hooks["webhooks"] if not each["name"].startswith("namespace")]
    return {**hooks, "webhooks": kept}


def hooks_of(mesh: RollingMesh) -> dict[str, Any]:
    return {key[3]: each["webhooks"] for key, each in mesh.store.items() if "Webhook" in key[1]}


def test_a_workload_that_does_not_restart_is_told_and_all_else_is_taken_back(
    mesh: RollingMesh, ledger: Ledger
) -> None:
    begun(mesh, ledger, "bank", "shop")
    mesh.ill = {"ledger", "web"}
    ending = back(mesh, ledger)
    assert (
        len(ending.failed) == 2 and "ledger" in " ".join(ending.failed) and "web" in " ".join(ending.failed)
    )
    assert restarted(mesh) == {"ledger", "web", "cart"}
    assert len(proxies_of_revision(mesh, "default")) == 3
    assert not any(revision_inventory(mesh, NEW, SYSTEM).values()) and not owes(ledger)


def test_the_new_revision_stays_while_a_proxy_of_it_runs_and_a_second_call_goes_on(
    mesh: RollingMesh, ledger: Ledger
) -> None:
    begun(mesh, ledger, "bank", "shop")
    mesh.frozen = {"web"}
    ending = back(mesh, ledger)
    assert len(ending.failed) == 1 and "web" in ending.failed[0]
    assert proxies_of_revision(mesh, NEW) == ("shop/web-1",)
    assert revision_inventory(mesh, NEW, SYSTEM)["Deployment"]
    assert [(each.kind, each.name) for each in ledger.entries()] == [(REVISION, NEW), (MOVED, "shop")]
    mesh.frozen = set()
    mesh.calls.clear()
    assert back(mesh, ledger).failed == ()
    assert restarted(mesh) == {"web"}, "what is back is left alone"
    assert not any(revision_inventory(mesh, NEW, SYSTEM).values()) and not owes(ledger)


def test_only_what_the_upgrade_restarted_is_restarted(mesh: RollingMesh, ledger: Ledger) -> None:
    plan = begun(mesh, ledger)

    def complain() -> None:
        raise IstioError("the budget is broken", remedy="none")

    shop = next(each for each in plan.moves if each.namespace == "shop")
    with pytest.raises(IstioError):
        move(mesh, ledger, shop, NEW, timeout=30, check=complain, clock=FakeClock())
    [first] = restarted(mesh)
    [other] = {"web", "cart"} - {first}
    mesh.ill = {other}  # and it was, before anything was changed
    mesh.calls.clear()
    assert back(mesh, ledger).failed == ()
    assert restarted(mesh) == {first} and not owes(ledger)


def test_a_workload_whose_new_pods_never_came_is_restarted_too(mesh: RollingMesh, ledger: Ledger) -> None:
    mesh.frozen = {"web"}
    with pytest.raises(MeshlabError):
        begun(mesh, ledger, "bank", "shop")
    mesh.frozen = set()
    mesh.calls.clear()
    assert back(mesh, ledger).failed == ()
    assert restarted(mesh) == {"ledger", "web"}


@pytest.mark.parametrize("fails", [True, False])
def test_the_client_goes_last_and_its_failure_keeps_nothing(
    mesh: RollingMesh, ledger: Ledger, fails: bool
) -> None:
    begun(mesh, ledger, "bank", "shop")
    seen: list[tuple[int, Mapping[str, str | None]]] = []

    def switch(labels: Mapping[str, str | None]) -> None:
        seen.append((len(proxies_of_revision(mesh, "default")), labels))
        if fails:
            raise IstioError("its image is gone", remedy="none")
        mesh.patch("v1", "Namespace", "bank", {"metadata": {"labels": dict(labels)}})
        mesh.roll("DaemonSet", "ledger", "bank")

    ending = back(mesh, ledger, client="bank", move_client=switch)
    assert seen == [(2, {"istio-injection": "enabled", "istio.io/rev": None})], "once shop is back"
    assert ending.failed == () and not owes(ledger)
    assert ("its image is gone" in " ".join(ending.done)) is fails
    assert not revision_inventory(mesh, NEW, SYSTEM)["Deployment"]


def test_a_client_that_does_not_restart_keeps_nothing_either(mesh: RollingMesh, ledger: Ledger) -> None:
    begun(mesh, ledger, "bank", "shop")
    mesh.frozen = {"ledger"}
    ending = back(mesh, ledger, client="bank")
    assert ending.failed == () and "ledger" in " ".join(ending.done) and not owes(ledger)


def test_a_job_that_ended_meanwhile_holds_nothing_up(mesh: RollingMesh, ledger: Ledger) -> None:
    begun(mesh, ledger, "bank")
    made = make_pod("job-1", namespace="bank", phase="Succeeded")
    made["metadata"]["annotations"] = {"istio.io/rev": NEW}
    mesh.put(made)
    assert back(mesh, ledger).failed == () and not owes(ledger)


def test_gateways_that_are_not_ready_are_told_and_the_new_revision_goes(
    mesh: RollingMesh, ledger: Ledger
) -> None:
    begun(mesh, ledger, "bank")

    def gateways() -> None:
        raise IstioError("the gateway is not Ready", remedy="none")

    assert back(mesh, ledger, before_removal=gateways).failed == ("the gateway is not Ready",)
    assert not owes(ledger)


def test_tags_lead_back_before_a_pod_is_made_anew(mesh: RollingMesh, ledger: Ledger, run: RunRef) -> None:
    plan = begun(mesh, ledger, "bank", "shop")
    before = hooks_of(mesh)
    Changes(mesh, ledger, run).keep(*tag_refs(mesh, plan.tags, SYSTEM))
    mesh.put(deactivated(webhooks("default")))
    mesh.put(webhooks(NEW, tag="default"))
    mesh.put(make_object("v1", "Service", "istiod-revision-tag-default", SYSTEM))
    settle_labels(mesh, plan)
    mesh.roll("DaemonSet", "ledger", "bank")
    assert "bank/ledger-1" in proxies_of_revision(mesh, NEW), "the control: the tag leads to the new one"
    assert back(mesh, ledger).failed == ()
    assert len(proxies_of_revision(mesh, "default")) == 3 and proxies_of_revision(mesh, NEW) == ()
    assert hooks_of(mesh) == {name: hooks for name, hooks in before.items() if NEW not in name}
    assert mesh.get("v1", "Service", "istiod-revision-tag-default", SYSTEM) is None


def test_another_cluster_at_the_same_address_is_left_alone(mesh: RollingMesh, ledger: Ledger) -> None:
    mesh.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": "one"}})
    begun(mesh, ledger, "shop")
    assert owes_here(mesh, ledger)
    mesh.patch("v1", "Namespace", "kube-system", {"metadata": {"uid": "another"}})
    mesh.calls.clear()
    assert not owes_here(mesh, ledger) and back(mesh, ledger).done == () and mesh.calls == []
    assert revision_inventory(mesh, NEW, SYSTEM)["Deployment"]


def test_nothing_is_taken_back_where_the_new_control_plane_is_the_only_one(
    mesh: RollingMesh, ledger: Ledger
) -> None:
    begun(mesh, ledger, "shop")
    mesh.delete("apps/v1", "Deployment", "istiod", SYSTEM)
    mesh.calls.clear()
    assert "nothing leads back" in back(mesh, ledger).failed[0] and mesh.calls == []


def test_past_the_point_of_no_return_the_old_revision_is_removed_and_nothing_is_taken_back(
    mesh: RollingMesh, ledger: Ledger, run: RunRef
) -> None:
    plan = begun(mesh, ledger, "bank", "shop")
    Changes(mesh, ledger, run).keep(*tag_refs(mesh, plan.tags, SYSTEM))
    begin_retiring(mesh, ledger, plan)
    assert retires_here(mesh, ledger) and CHANGE not in {each.kind for each in ledger.entries()}
    assert back(mesh, ledger).done == ()
    told = not_removed(mesh, plan, IstioError("it hangs", remedy="none"))
    assert "it hangs" in told.message and "Deployment istio-system/istiod" in told.message
    mesh.put(make_pod("late", namespace="plain", labels={"istio.io/rev": "default"}))
    assert "plain/late" in finish_retiring(mesh, ledger, timeout=5).failed[0]
    assert revision_inventory(mesh, "default", SYSTEM)["Deployment"] and retires_here(mesh, ledger)
    mesh.delete("v1", "Pod", "late", "plain")
    assert finish_retiring(mesh, ledger, timeout=5).failed == ()
    assert not any(revision_inventory(mesh, "default", SYSTEM).values()) and ledger.entries() == ()
    assert len(proxies_of_revision(mesh, NEW)) == 3


def test_where_a_third_revision_is_there_nothing_is_moved_back_to_one_that_is_gone(
    mesh: RollingMesh, ledger: Ledger
) -> None:
    begun(mesh, ledger, "bank", "shop")
    for key in [key for key, each in mesh.store.items() if each in control_plane("default", "1.30.0")]:
        del mesh.store[key]
    for each in control_plane("1-32-0", "1.32.0"):
        mesh.put(each)
    [why] = back(mesh, ledger).failed
    assert "1-32-0" in why and restarted(mesh) == set() and owes(ledger)


def test_an_istio_that_was_installed_anew_since_is_not_taken_for_the_old_revision(
    mesh: RollingMesh, ledger: Ledger
) -> None:
    """Somebody has cleaned up by hand, and installed Istio again under the name of the old revision."""
    plan = begun(mesh, ledger, "bank", "shop")
    begin_retiring(mesh, ledger, plan)
    for key in [key for key, each in mesh.store.items() if each in control_plane(NEW, "1.31.0")]:
        del mesh.store[key]
    assert finish_retiring(mesh, ledger, timeout=5).failed == ()
    assert [plane.revision for plane in control_planes(mesh)] == ["default"]
    assert not retires_here(mesh, ledger)


def test_a_run_that_was_cut_off_at_the_point_of_no_return_leads_nothing_back(
    mesh: RollingMesh, ledger: Ledger, run: RunRef
) -> None:
    plan = begun(mesh, ledger, "bank", "shop")
    Changes(mesh, ledger, run).keep(*tag_refs(mesh, plan.tags, plan.home))
    pass_no_return(mesh, ledger)
    assert {each.kind for each in ledger.entries()} == {REVISION, MOVED, CHANGE}, "there is a way back"
    ledger.intend(Entry(RETIRING, plan.old, mesh.host, "{}"))
    pass_no_return(mesh, ledger)
    assert [each.kind for each in ledger.entries()] == [RETIRING]
