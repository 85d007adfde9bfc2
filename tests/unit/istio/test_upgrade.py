"""What an upgrade moves, and that all of it can be taken back by the ledger alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshlab.config.settings import Machine
from meshlab.core.errors import IstioError, MeshlabError
from meshlab.istio.control_plane import control_planes
from meshlab.istio.revision import (
    proxies_of_revision,
    remove_revision,
    revision_inventory,
    revision_name,
)
from meshlab.istio.roll_back import Ending, begin_retiring, retired, retires_here, take_back
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
from meshlab.run.journal import create
from meshlab.run.ledger import Ledger
from tests.fakes.clock import FakeClock
from tests.fakes.istio_objects import webhooks
from tests.fakes.kube import make_pod
from tests.fakes.mesh import make_object
from tests.fakes.rollout import RollingMesh, control_plane, two_namespaces, workload

NEW, SYSTEM = "1-31-0", "istio-system"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    run = create(tmp_path / "runs", "upgrade")
    return Ledger.open(Machine.here({"HOME": str(tmp_path / "home")}), run)


def planned(mesh: RollingMesh, version: str = "1.31.0", **options) -> UpgradePlan:
    return plan_upgrade(mesh, control_planes(mesh)[0], version, **options)


def with_new(mesh: RollingMesh) -> RollingMesh:
    for each in control_plane(NEW, "1.31.0"):
        mesh.put(each)
    return mesh


def labels_of(mesh: RollingMesh, namespace: str) -> dict[str, str]:
    return mesh.get("v1", "Namespace", namespace)["metadata"].get("labels") or {}


def moved(mesh: RollingMesh, ledger: Ledger, plan: UpgradePlan, **options) -> None:
    intend_revision(mesh, ledger, plan)
    for one in plan.moves:
        move(mesh, ledger, one, plan.new, timeout=30, clock=FakeClock(), **options)


def test_a_version_names_its_revision() -> None:
    assert [revision_name(each) for each in ("1.31.0", "v1.30.0-dev", "1.29.2-Distroless")] == [
        "1-31-0",
        "1-30-0-dev",
        "1-29-2-distroless",
    ]


@pytest.mark.parametrize(
    ("labels", "annotations", "revision"),
    [
        ({}, {"istio.io/rev": "default"}, "default"),
        ({"istio.io/rev": "prod"}, {"istio.io/rev": NEW}, NEW),
        ({"istio.io/rev": "default"}, {}, "default"),
    ],
    ids=["of the webhook", "a label may name a tag", "a gateway of istioctl"],
)
def test_a_proxys_revision_is_what_the_webhook_wrote(
    labels: dict[str, str], annotations: dict[str, str], revision: str
) -> None:
    mesh, made = two_namespaces(), make_pod("one", namespace="plain", labels=labels)
    made["metadata"]["annotations"] = annotations
    mesh.put(made)
    assert "plain/one" in proxies_of_revision(mesh, revision)
    assert "plain/one" not in proxies_of_revision(mesh, "prod")


def test_the_plan_names_the_namespaces_of_the_old_revision_with_their_workloads_and_labels() -> None:
    plan = planned(two_namespaces())
    assert (plan.old, plan.new, plan.old_version) == ("default", NEW, "1.30.0")
    assert [(each.namespace, [ref.name for ref in each.workloads]) for each in plan.moves] == [
        ("bank", ["ledger"]),
        ("shop", ["web", "cart"]),
    ]
    assert plan.moves[0].before == {"istio-injection": "enabled", "istio.io/rev": None}
    assert plan.tags == ("default",)
    assert [each.namespace for each in planned(two_namespaces(), but=["bank"]).moves] == ["shop"]


def test_a_mesh_that_can_not_be_upgraded_is_refused_with_every_reason() -> None:
    with pytest.raises(IstioError, match="runs already"):
        planned(two_namespaces(), "1.30.0")
    mesh = two_namespaces()
    mesh.put(make_pod("lonely", namespace="shop"))
    mesh.put(make_pod("stray", namespace="plain", labels={"istio.io/rev": "default"}))
    for each in control_plane("canary", "1.29.0"):
        mesh.put(each)
    with pytest.raises(IstioError) as refused:
        planned(mesh)
    assert all(word in refused.value.message for word in ("shop/lonely", "plain/stray", "canary"))


def test_namespaces_are_moved_and_every_proxy_is_new(ledger: Ledger) -> None:
    mesh = with_new(two_namespaces())
    plan = planned(mesh)
    looked: list[int] = []
    moved(mesh, ledger, plan, check=lambda: looked.append(len(proxies_of_revision(mesh, NEW))))
    assert looked == [1, 2, 3], "asked after each workload"
    assert proxies_of_revision(mesh, "default") == ()
    assert labels_of(mesh, "shop") == {"istio.io/rev": NEW, "team": "a"}
    assert owes(ledger)


def test_the_labels_come_back_where_a_tag_leads_to_the_new_revision(ledger: Ledger) -> None:
    mesh = with_new(two_namespaces())
    mesh.put(make_object("v1", "Namespace", "named", istio__io_rev="x"))
    mesh.store["v1", "Namespace", None, "named"]["metadata"]["labels"] = {"istio.io/rev": "default"}
    plan = planned(mesh)
    moved(mesh, ledger, plan)
    settle_labels(mesh, plan)
    assert labels_of(mesh, "shop") == {"istio-injection": "enabled", "team": "a"}
    assert labels_of(mesh, "named") == {"istio.io/rev": "default"}, "the tag default is there"
    assert [entry.kind for entry in ledger.entries()] == [REVISION, MOVED, MOVED, MOVED], (
        "there is a way back"
    )
    begin_retiring(mesh, ledger, plan)
    assert [entry.kind for entry in ledger.entries()] == [RETIRING] and not owes(ledger)
    retired(mesh, ledger)
    assert not retires_here(mesh, ledger) and ledger.entries() == ()


def test_a_namespace_that_names_the_old_revision_itself_keeps_the_new_label(ledger: Ledger) -> None:
    mesh = RollingMesh([make_object("v1", "Namespace", "istio-system"), *control_plane("1-30-0", "1.30.0")])
    mesh.put(webhooks("1-30-0", tag="prod"))
    for name, value in (("direct", "1-30-0"), ("tagged", "prod")):
        mesh.put(make_object("v1", "Namespace", name))
        mesh.store["v1", "Namespace", None, name]["metadata"]["labels"] = {"istio.io/rev": value}
    for each in control_plane(NEW, "1.31.0"):
        mesh.put(each)
    plan = planned(mesh)
    assert plan.tags == ("prod",)
    moved(mesh, ledger, plan)
    settle_labels(mesh, plan)
    assert labels_of(mesh, "direct") == {"istio.io/rev": NEW}
    assert labels_of(mesh, "tagged") == {"istio.io/rev": "prod"}


def test_all_is_taken_back_by_the_ledger_alone_and_the_new_revision_is_gone(ledger: Ledger) -> None:
    mesh = with_new(two_namespaces())
    plan = planned(mesh)
    moved(mesh, ledger, plan)
    before = revision_inventory(mesh, NEW, SYSTEM)
    assert before["Deployment"] == (f"istio-system/istiod-{NEW}",) and len(before["sidecar"]) == 3
    assert before["ClusterRole"] == (f"istiod-clusterrole-{NEW}-istio-system",)
    seen: list[int] = []
    ending = take_back(
        mesh, Ledger(ledger.path), timeout=30, clock=FakeClock(),
        before_removal=lambda: seen.append(len(revision_inventory(mesh, NEW, SYSTEM)["Deployment"])),
    )  # fmt: skip
    assert seen == [1], "the new revision goes last"
    assert not any(revision_inventory(mesh, NEW, SYSTEM).values())
    assert len(proxies_of_revision(mesh, "default")) == 3
    assert labels_of(mesh, "shop") == {"istio-injection": "enabled", "team": "a"}
    assert len(ending.done) == 3 and ending.failed == () and not owes(ledger)
    assert take_back(mesh, ledger, timeout=30, clock=FakeClock()) == Ending()


def test_pods_that_never_get_ready_end_the_move_and_it_can_be_taken_back(ledger: Ledger) -> None:
    mesh = with_new(two_namespaces())
    mesh.stuck = {NEW}
    plan = planned(mesh)
    with pytest.raises(MeshlabError):
        moved(mesh, ledger, plan)
    take_back(mesh, ledger, timeout=30, clock=FakeClock())
    assert len(proxies_of_revision(mesh, "default")) == 3 and not owes(ledger)


def test_a_check_that_complains_stops_after_the_workload(ledger: Ledger) -> None:
    mesh = with_new(two_namespaces())

    def complain() -> None:
        raise IstioError("the budget is broken", remedy="none")

    with pytest.raises(IstioError, match="budget"):
        moved(mesh, ledger, planned(mesh), check=complain)
    assert len(proxies_of_revision(mesh, NEW)) == 1


def test_gateways_are_no_part_of_a_revision_and_a_revision_goes_without_its_pods() -> None:
    mesh = two_namespaces()
    gateway = workload("istio-ingressgateway", "istio-system")
    gateway["metadata"]["labels"] = {
        "istio.io/rev": "default",
        "operator.istio.io/component": "IngressGateways",
    }
    mesh.put(gateway)
    assert [ref.name for ref in planned(mesh).gateways] == ["istio-ingressgateway"]
    removal = remove_revision(mesh, "default", SYSTEM, timeout=5)
    assert removal.before["Deployment"] == ("istio-system/istiod",)
    assert mesh.get("apps/v1", "Deployment", "istio-ingressgateway", "istio-system") is not None
    assert len(removal.after["sidecar"]) == 3
    assert not any(names for kind, names in removal.after.items() if kind != "sidecar")
