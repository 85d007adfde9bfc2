"""The steps of an upgrade on a cluster in memory: what they trust, what they refuse, and that all is taken back."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from meshlab.app.upgrade_client import client_namespace
from meshlab.cli import upgrade as cli
from meshlab.clusters.base import ClusterRef
from meshlab.config.settings import LabConfig, Machine
from meshlab.core.errors import InputError, IstioError, KubeError, MeshlabError
from meshlab.istio.control_plane import control_planes
from meshlab.istio.distribution import Distribution
from meshlab.istio.istioctl import Istioctl, ProxyStatus
from meshlab.istio.revision import proxies_of_revision
from meshlab.istio.roll_back import take_back
from meshlab.istio.upgrade import MOVED, RETIRING, UpgradePlan, intend_revision, move, owes, plan_upgrade
from meshlab.lifecycle import resume
from meshlab.lifecycle.context import begin_context, context_of
from meshlab.run.journal import RunRef, create, read_journal
from meshlab.run.ledger import Entry, Ledger
from meshlab.run.results import Verdict
from tasks import upgrade, upgrade_rollback
from tasks.upgrade import (
    Moved,
    WatchingClock,
    judge_upgrade,
    list_old_revision,
    none_of_the_old,
    retire_old_revision,
    still_moved,
)
from tasks.upgrade_again import kept_plan
from tasks.upgrade_rollback import check_upgrade, roll_back, rolling_back
from tests.fakes.clock import FakeClock
from tests.fakes.istioctl import FakeIstioctl, Said
from tests.fakes.kube import make_pod
from tests.fakes.rollout import RollingMesh, control_plane, two_namespaces

CLUSTER = ClusterRef("existing", "c", Path("kubeconfig"))
ISTIO = Distribution("embedded", Path("istioctl"), "1.31.0", Path("samples"))
CONFIG = LabConfig.model_validate(
    {"cluster": "existing", "allow_changes": True, "app": {"namespace": "shop"}}
)
NEW, VERSIONS = "1-31-0", {"default": "1.30.0", "1-31-0": "1.31.0"}
INJECTOR = ("MutatingWebhookConfiguration", "istio-sidecar-injector")
ALL = ("bank/ledger-1", "shop/cart-1", "shop/web-1")
LIST_PROXIES = upgrade_rollback.list_proxies


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunRef:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return begin_context(create(tmp_path / "runs", "upgrade"), CONFIG, Machine.here()).run


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> RollingMesh:
    mesh = two_namespaces()
    said = FakeIstioctl({"tag": Said(), "uninstall": Said("done")})
    for module in (upgrade, upgrade_rollback):
        monkeypatch.setattr(module, "kube_of", lambda _: mesh)
        monkeypatch.setattr(module, "istioctl_of", lambda *_: Istioctl(Path("istioctl"), runner=said))
    monkeypatch.setattr(upgrade_rollback, "take_back", partial(take_back, clock=FakeClock()))
    monkeypatch.setattr(
        upgrade_rollback,
        "list_proxies",
        lambda *_: [
            upgrade_rollback.Proxy(name, revision, version)
            for revision, version in VERSIONS.items()
            for name in proxies_of_revision(mesh, revision)  # type: ignore[arg-type]
        ],
    )
    context = upgrade.context_of

    def without_facts(run: RunRef):
        found = context(run)
        found.read_mesh_again = lambda _: None  # type: ignore[method-assign,assignment,return-value]
        return found

    for module in (upgrade, upgrade_rollback):
        monkeypatch.setattr(module, "context_of", without_facts)
    mesh.commands, mesh.said = said.commands, said.answers  # type: ignore[attr-defined]
    return mesh


def half_way(run: RunRef, mesh: RollingMesh, *, namespaces: int = 1) -> UpgradePlan:
    """The new revision is installed, and so many namespaces are moved."""
    plan = plan_upgrade(mesh, control_planes(mesh)[0], "1.31.0")
    ledger = context_of(run).ledger
    intend_revision(mesh, ledger, plan)
    for each in control_plane(NEW, "1.31.0"):
        mesh.put(each)
    for one in plan.moves[:namespaces]:
        move(mesh, ledger, one, plan.new, timeout=30, clock=FakeClock())
    return plan


def checks(run: RunRef) -> dict[str, str]:
    return {each["id"]: each["verdict"] for each in read_journal(run) if each["event"] == "check"}


def test_a_roll_back_takes_all_back_and_proves_it(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh)
    check = roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "a check is red")
    assert check.verdict is Verdict.PASS and check.evidence["cause"] == "a check is red"
    assert checks(run) == {"upgrade.versions": "fail", "upgrade.rollback": "pass"}
    assert len(proxies_of_revision(mesh, "default")) == 3 and not owes(context_of(run).ledger)
    assert rolling_back(run) == "a check is red"


def test_a_roll_back_that_is_cut_off_goes_on_with_its_first_cause_and_control(
    run: RunRef, mesh: RollingMesh
) -> None:
    plan = half_way(run, mesh)

    def refuse(verb: str, kind: str, name: str) -> None:
        if verb == "delete":
            raise KubeError("the API server is away")

    mesh.refuse = refuse
    with pytest.raises(IstioError, match="the API server is away"):
        roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "a check is red")
    assert checks(run)["upgrade.rollback"] == "fail" and owes(context_of(run).ledger)
    mesh.refuse = lambda *_: None
    check = roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "something else")
    assert check.verdict is Verdict.PASS and check.evidence["cause"] == "a check is red"
    assert check.evidence["new_before"]["Deployment"] == 1


def test_the_old_revision_is_retired_by_tag_label_and_removal(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh, namespaces=2)
    before = list_old_revision.fn(run, CONFIG, CLUSTER, plan)
    assert before["Deployment"] == ("istio-system/istiod",)
    removal = retire_old_revision.fn(run, CONFIG, CLUSTER, ISTIO, plan)
    words = [command[1:4] for command in mesh.commands]  # type: ignore[attr-defined]
    assert words == [("tag", "set", "default"), ("uninstall", "--revision=default", "--skip-confirmation")]
    assert not any(removal.after.values()) and not owes(context_of(run).ledger)
    assert check_upgrade.fn(run, CONFIG, CLUSTER, ISTIO, plan, before).verdict is Verdict.PASS
    assert checks(run) == {"upgrade.rollback": "skipped", "upgrade.versions": "pass"}


def test_a_tag_that_can_not_be_set_leads_to_the_roll_back(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh, namespaces=2)
    hooks = mesh.get("admissionregistration.k8s.io/v1", *INJECTOR)["webhooks"]
    mesh.said["tag"] = [Said("", "it does not answer", 1)]  # type: ignore[attr-defined]
    with pytest.raises(IstioError, match="does not answer"):
        retire_old_revision.fn(run, CONFIG, CLUSTER, ISTIO, plan)
    assert owes(context_of(run).ledger), "there is a way back"
    mesh.patch(
        "admissionregistration.k8s.io/v1", *INJECTOR, {"webhooks": []}
    )  # what tag set had done by then
    assert roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "the tag").verdict is Verdict.PASS
    assert mesh.get("admissionregistration.k8s.io/v1", *INJECTOR)["webhooks"] == hooks
    assert context_of(run).ledger.entries() == ()


def test_a_label_that_can_not_be_set_leads_to_the_roll_back(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh, namespaces=2)

    def refuse(verb: str, kind: str, name: str) -> None:
        if (verb, name) == ("patch", "shop"):
            raise KubeError("the API server is away")

    mesh.refuse = refuse
    with pytest.raises(KubeError):
        retire_old_revision.fn(run, CONFIG, CLUSTER, ISTIO, plan)
    mesh.refuse = lambda *_: None
    assert roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "a label").verdict is Verdict.PASS
    assert len(proxies_of_revision(mesh, "default")) == 3


def test_an_old_revision_that_does_not_go_is_told_with_what_is_left_and_goes_later(
    run: RunRef, mesh: RollingMesh
) -> None:
    plan = half_way(run, mesh, namespaces=2)

    def refuse(verb: str, kind: str, name: str) -> None:
        if verb == "delete":
            raise KubeError("the API server is away")

    mesh.refuse = refuse
    with pytest.raises(IstioError) as told:
        retire_old_revision.fn(run, CONFIG, CLUSTER, ISTIO, plan)
    assert "Deployment istio-system/istiod" in told.value.message and "default" in told.value.remedy
    ledger = context_of(run).ledger
    assert not owes(ledger) and [each.kind for each in ledger.entries()] == [RETIRING]
    mesh.refuse = lambda *_: None
    removal = retire_old_revision.fn(run, CONFIG, CLUSTER, ISTIO, plan)  # as --resume does it
    assert removal.before["Deployment"] and not any(removal.after.values()) and ledger.entries() == ()


def test_a_roll_back_tells_what_it_could_not_take_back(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh, namespaces=2)
    mesh.frozen = {"web"}
    with pytest.raises(IstioError, match="web"):
        roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "web never got Ready")
    assert checks(run) == {"upgrade.rollback": "fail"} and owes(context_of(run).ledger)
    assert proxies_of_revision(mesh, NEW) == ("shop/web-1",), "all others are back"


def test_a_pod_that_has_ended_is_no_proxy_that_has_to_tell_its_version(
    run: RunRef, mesh: RollingMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh.put(make_pod("job-1", namespace="shop", phase="Succeeded"))
    names = [f"{name}.{home}" for home, _, name in (each.partition("/") for each in ALL)]
    told = [ProxyStatus(name, name.partition(".")[2], "1.30.0", {}) for name in names]
    monkeypatch.setattr(upgrade_rollback, "proxy_states", lambda *_: told)
    found = LIST_PROXIES(mesh, CLUSTER, ISTIO)  # type: ignore[arg-type]
    assert sorted((each.name, each.version) for each in found) == [(name, "1.30.0") for name in ALL]


def test_an_old_revision_with_proxies_is_not_retired(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh)
    with pytest.raises(IstioError, match="shop/"):
        list_old_revision.fn(run, CONFIG, CLUSTER, plan)


def test_a_moved_namespace_is_trusted_while_its_label_and_its_proxies_say_so(
    run: RunRef, mesh: RollingMesh
) -> None:
    half_way(run, mesh)
    assert still_moved(mesh, CONFIG, Moved("bank", NEW, "default")) == ""
    assert "revision" in still_moved(mesh, CONFIG, Moved("shop", NEW, "default"))
    asks = {"istio.io/rev": NEW, "istio-injection": None}
    mesh.patch("v1", "Namespace", "shop", {"metadata": {"labels": asks}})
    assert "shop/web-1" in still_moved(mesh, CONFIG, Moved("shop", NEW, "default"))
    assert "shop/web-1" in none_of_the_old(mesh, CONFIG, Moved("shop", NEW, "default"))


def test_a_namespace_that_has_its_own_label_back_is_moved_while_its_tag_leads_to_the_new_revision(
    run: RunRef, mesh: RollingMesh
) -> None:
    """Else a run that goes on after the old revision is gone restarts everything, and takes it back at last."""
    half_way(run, mesh, namespaces=2)
    own = {"istio-injection": "enabled", "istio.io/rev": None}
    mesh.patch("v1", "Namespace", "bank", {"metadata": {"labels": own}})
    assert "revision" in still_moved(mesh, CONFIG, Moved("bank", NEW, "default")), (
        "the tag leads to the old one"
    )
    hooks = mesh.store["admissionregistration.k8s.io/v1", INJECTOR[0], None, INJECTOR[1]]
    hooks["metadata"]["labels"]["istio.io/rev"] = NEW  # what `tag set` makes of it
    assert still_moved(mesh, CONFIG, Moved("bank", NEW, "default")) == ""


def test_a_workload_that_is_ill_in_the_old_revision_too_is_no_failed_roll_back(
    run: RunRef, mesh: RollingMesh
) -> None:
    plan = half_way(run, mesh, namespaces=2)
    mesh.ill = {"web"}
    assert roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "web never got Ready").verdict is Verdict.PASS
    assert checks(run) == {"upgrade.versions": "fail", "upgrade.rollback": "pass"}
    assert not owes(context_of(run).ledger)


def test_a_roll_back_whose_cause_was_cut_off_is_one_all_the_same(run: RunRef) -> None:
    (run.evidence / upgrade_rollback.FILE).write_text('{"why": "a check')
    assert rolling_back(run)


def test_a_roll_out_ends_when_the_error_budget_breaks(run: RunRef, mesh: RollingMesh) -> None:
    """Within one wait of the clock, and not after the five minutes that a roll-out may take."""
    plan = half_way(run, mesh, namespaces=0)
    mesh.stuck.add(NEW)
    looks = iter([False, False, True])

    def check() -> None:
        if next(looks):
            raise IstioError("four in a row")

    shop = next(one for one in plan.moves if one.namespace == "shop")
    clock = WatchingClock(check)
    with pytest.raises(IstioError, match="four in a row"):
        move(mesh, context_of(run).ledger, shop, plan.new, timeout=300, check=check, clock=clock)
    assert not any(looks)


def test_the_plan_of_a_life_before_is_read_as_it_was(run: RunRef, mesh: RollingMesh) -> None:
    assert kept_plan(run) is None
    plan = half_way(run, mesh)
    with pytest.raises(MeshlabError):
        kept_plan(run)
    resume.keep(run, "plan-upgrade", plan, UpgradePlan, cluster="c", inputs="i", pods={})
    assert kept_plan(run) == plan


def test_the_client_of_a_life_before_is_moved_back_like_any_namespace(run: RunRef, mesh: RollingMesh) -> None:
    plan = half_way(run, mesh)
    home = client_namespace(CONFIG)
    content = json.dumps({"before": {"istio-injection": "enabled", "istio.io/rev": None}})
    context_of(run).ledger.intend(Entry(MOVED, home, mesh.host, content))
    assert roll_back.fn(run, CONFIG, CLUSTER, ISTIO, plan, "x").verdict is Verdict.PASS
    assert Ledger.open(Machine.here(), run).entries() == ()


def test_what_an_upgrade_may_not_change_and_whom_it_can_not_ask_is_said_before() -> None:
    judge_upgrade(CONFIG)
    for config in ({"cluster": "existing"}, {"cluster": "gke"}):
        with pytest.raises(InputError):
            judge_upgrade(LabConfig.model_validate(config))
    assert [each.where for each in cli.judge(LabConfig(cluster="existing"), {})] == ["--cluster existing"]
